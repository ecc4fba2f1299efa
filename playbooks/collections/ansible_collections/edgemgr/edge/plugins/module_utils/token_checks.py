"""Every reason against a new token, found before anything is changed."""

from __future__ import annotations

import sqlite3
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_take,
    layout,
    marker,
    node_datastore,
    node_facts,
    service,
    token_journal,
    token_seal,
    token_source,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_cluster import LocalCluster
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed, warned
from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import FAILING
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, parse
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none

#: `k3s token rotate` came with the releases of October 2023 (docs.k3s.io/cli/token): minor version → the first patch.
_FIRST_PATCH = {25: 15, 26: 10, 27: 7, 28: 3}
_SERVER_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def can_rotate(version: K3sVersion | None) -> bool:
    """Whether this k3s can give itself a new token."""
    if version is None or version.minor < min(_FIRST_PATCH):
        return False
    return version.patch >= _FIRST_PATCH.get(version.minor, 0)


def check_installed(installed: dict[str, Any]) -> list[Check]:
    """What has to hold also where a rotation was cut off."""
    version = str(installed.get("version", ""))
    if installed.get("state") != marker.INSTALLED:
        message = "edgemgr has not installed k3s here, or has not finished it"
        return [blocked("installed", "E-TOKEN-UNFINISHED", message, "Bootstrap the site first.")]
    if not can_rotate(parse(version)):
        message = f"k3s {version} cannot give itself a new token; releases from October 2023 on can"
        return [blocked("version", "E-TOKEN-VERSION", message, "Upgrade the site first.")]
    if node_datastore.kind() not in (node_datastore.SQLITE, node_datastore.ETCD):
        message = "the datastore is not on this node, so edgemgr could not bring it back"
        hint = "Rotate it by hand: `k3s token rotate` (docs.k3s.io/cli/token), after a backup of the database."
        return [blocked("datastore", "E-TOKEN-DATASTORE", message, hint)]
    return [passed("version", version)]


def check_begin(site: str, version: str, min_free_mib: int) -> list[Check]:
    """What has to hold before a rotation begins."""
    return [check_source(), check_seal(), check_ready(site, version), check_nodes(site), check_room(min_free_mib)]


def check_source() -> Check:
    """k3s keeps its token by itself: nobody tells it one at its start."""
    places = token_source.found(int(service.state().get("MainPID") or 0))
    if places:
        message = "k3s is given its token from outside, so a new one would not last: " + ", ".join(places)
        hint = "Take it out there. k3s has the same token in server/token, and goes on with it."
        return blocked("token source", "E-TOKEN-CONFIGURED", message, hint)
    return passed("token source", "kept by k3s")


def check_seal() -> Check:
    """The token at hand is the one that opens the datastore, and the only one."""
    if node_datastore.kind() != node_datastore.SQLITE:
        return passed("token seal", "etcd does not tell")
    token = (read_or_none(layout.DATA_DIR + "/server/token") or b"").decode("utf-8", "replace")
    try:
        names = token_seal.names(token_seal.database())
    except sqlite3.Error as exc:
        message = f"the datastore cannot be read: {exc}"
        return blocked("token seal", "E-TOKEN-SEALED", message, "See whether k3s runs and the disk is sound.")
    if token and names == {token_seal.name_for(token_seal.password_of(token))}:
        return passed("token seal", "the datastore opens with the token at hand")
    message = "the datastore was not sealed with the token in server/token, or not with that one alone"
    hint = "Look at `journalctl -u k3s` on the node; restoring a backup brings a token and a datastore that fit."
    return blocked("token seal", "E-TOKEN-SEALED", message, hint)


def check_ready(site: str, version: str) -> Check:
    """k3s runs, and its node is Ready."""
    failing = [message for _, message, health in LocalCluster().look(site, version)["unmet"] if health == FAILING]
    if failing:
        hint = "Put k3s right first: `edgemgr verify` tells more."
        return blocked("ready", "E-TOKEN-READY", "k3s is not well: " + "; ".join(failing), hint)
    return passed("ready", "the API and the node are")


def check_nodes(site: str) -> Check:
    """Other machines joined with the old token: agents are told of, other servers stand against it."""
    try:
        nodes = KubeApi().read("/api/v1/nodes")["items"]
    except KubeApiError as exc:
        return passed("nodes", f"the API does not tell: {exc}")
    others = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in nodes}
    others.pop(site, None)
    servers = sorted(name for name, labels in others.items() if any(label in labels for label in _SERVER_LABELS))
    if servers:
        message = "the cluster has other servers, which would not start with the old token: " + ", ".join(servers)
        hint = "Rotate it by hand on all of them: docs.k3s.io/cli/token."
        return blocked("nodes", "E-TOKEN-SERVERS", message, hint)
    if others:
        return warned("nodes", "these joined with the old token and need the new one: " + ", ".join(sorted(others)))
    return passed("nodes", "no other machine")


def check_room(min_free_mib: int) -> Check:
    """The copy of the datastore fits, and once more what is laid out of it to put it back."""
    try:
        need = 2 * backup_take.need_bytes()
    except EdgeError as exc:
        return blocked("room", exc.code, exc.message, exc.hint)
    free = node_facts.file_system(token_journal.directory())["free_bytes"]
    if free < need + (min_free_mib << 20):
        message = "{0} MiB are free; the copy takes {1} MiB, and {2} MiB are to stay free".format(
            free >> 20, -(-need >> 20), min_free_mib
        )
        return blocked("room", "E-TOKEN-ROOM", message, "Free some room on the node first: `edgemgr tidy SITE`.")
    return passed("room", f"{free >> 20} MiB free")
