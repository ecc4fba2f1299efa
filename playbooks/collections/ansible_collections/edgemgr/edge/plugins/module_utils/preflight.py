"""Preflight: every reason against a change, found before anything is changed."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    activation_state,
    artifacts,
    check,
    checks_host,
    checks_k3s,
    checks_room,
    layout,
    marker,
    node_facts,
    node_network,
    restore_places,
    service,
    token_journal,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError


def check_bootstrap(params: dict[str, Any], files: list[dict[str, Any]], missing: list[str]) -> list[Check]:
    """All checks of a bootstrap but that of the clock. `files` are those for this node, `missing` of them the digests
    that its content store lacks.
    """
    arch = node_facts.arch()
    systemd = _systemd()
    installed = marker.read()
    active = _is_active(installed, systemd)
    checks = checks_host.check_host(_host(systemd), params["min_memory_mib"])
    checks += [
        check_upgrade(is_kept=True),
        check_restore(),
        check_token(),
        checks_k3s.check_arch(arch, artifacts.one_name(params["arch"]), artifacts.with_one_name(params["artifacts"])),
        checks_k3s.check_owner(node_facts.foreign_k3s(), installed, _link(), active),
        checks_k3s.check_version(params["version"], installed, os.path.isdir(layout.DATA_DIR + "/server")),
        checks_k3s.check_config(params["site"], params["config"], installed),
        *_room(files, missing, installed, params),
    ]
    if not active:
        ports = checks_k3s.ports_of(params["config"])
        listeners = node_network.listeners(set(ports) | set(checks_k3s.INGRESS_PORTS))
        checks += checks_k3s.check_ports(listeners, ports)
    return checks


def check_reset() -> list[Check]:
    """A reset has fewer conditions."""
    systemd = _systemd()
    installed = marker.read()
    return [
        checks_host.check_systemd(systemd),
        checks_host.check_root(os.geteuid()),
        checks_k3s.check_owner(node_facts.foreign_k3s(), installed, _link(), _is_active(installed, systemd)),
        check_upgrade(is_kept=False),
    ]


def check_node(min_memory_mib: int) -> list[Check]:
    """What every change of a node asks that has k3s already: the host itself, and whose k3s it is."""
    systemd = _systemd()
    installed = marker.read()
    owner = checks_k3s.check_owner(node_facts.foreign_k3s(), installed, _link(), _is_active(installed, systemd))
    return [*checks_host.check_host(_host(systemd), min_memory_mib), owner, check_restore()]


def check_upgrade(is_kept: bool) -> Check:
    """Nobody else touches k3s while an upgrade is at work; one that needs hands stands against all but its removal."""
    if activation_state.is_under_way():
        hint = "It ends by itself, on the new version or the old one; try again then."
        return check.blocked("upgrade", "E-UPGRADE-BUSY", "an upgrade of this node has not ended", hint)
    if is_kept and os.path.exists(activation_paths.hold()):
        hint = "`edgemgr operation list SITE` has its sentence; when the node is put right, remove the file."
        message = f"an upgrade has left this node to somebody's hands ({activation_paths.hold()})"
        return check.blocked("upgrade", "E-UPGRADE-HANDS", message, hint)
    return check.passed("upgrade", "none is under way")


def check_restore() -> Check:
    """A restore that was cut off is finished by another one, or by a reset."""
    if restore_places.is_unfinished():
        hint = "Restore the site again: `edgemgr backup restore SITE`; or reset it."
        return check.blocked("restore", "E-RESTORE-UNFINISHED", "a restore of this node was cut off", hint)
    return check.passed("restore", "none is under way")


def check_token() -> Check:
    """A rotation of the token that was cut off is ended first: until then token and datastore need not fit."""
    if token_journal.is_unfinished():
        hint = "`edgemgr operation retry` with the number of its operation ends it; so does a restore of the site."
        return check.blocked("token", "E-TOKEN-CUT", "a rotation of the token was cut off", hint)
    return check.passed("token", "no rotation is under way")


def refuse(checks: list[Check]) -> None:
    """Raise with all refusals at once, if there is one.

    Raises:
        EdgeError: the code of the first refusal; `edge_refusals` has all of them.
    """
    found = check.results(checks)
    if found["edge_refusals"]:
        first = found["edge_refusals"][0]
        raise EdgeError(first["code"], first["message"], first["hint"], NEVER, **found)


def _systemd() -> dict[str, bool]:
    return {
        "is_running": os.path.isdir("/run/systemd/system"),
        "has_systemctl": shutil.which("systemctl") is not None,
    }


def _is_active(installed: dict[str, Any] | None, systemd: dict[str, bool]) -> bool:
    return installed is not None and systemd["has_systemctl"] and service.state()["ActiveState"] == "active"


def _link() -> str | None:
    if not os.path.lexists(layout.K3S):
        return None
    return os.readlink(layout.K3S) if os.path.islink(layout.K3S) else ""


def _host(systemd: dict[str, bool]) -> dict[str, Any]:
    return {
        "os": node_facts.os_release(),
        "systemd": systemd,
        "python": node_facts.python(),
        "uid": os.geteuid(),
        "cgroups": node_facts.cgroups(),
        "memory_bytes": node_facts.memory_bytes(),
        "has_default_route": node_network.has_default_route(),
        "selinux": node_facts.selinux(),
        "has_swap": len(node_facts.text("/proc/swaps").splitlines()) > 1,
        "firewalls": node_network.firewalls(),
    }


def _room(
    files: list[dict[str, Any]], missing: list[str], installed: dict[str, Any] | None, params: dict[str, Any]
) -> list[Check]:
    paths = (layout.CACHE_DIR, layout.PROGRAM_DIR, layout.RANCHER_DIR)
    file_systems = {path: node_facts.file_system(path) for path in paths}
    in_place = (
        installed is not None
        and installed["state"] == marker.INSTALLED
        and installed["version"] == params["version"]
        and os.path.exists(layout.binary(params["version"]))
    )
    devices = {path: facts["device"] for path, facts in file_systems.items()}
    need = checks_room.needed_bytes(files, set(missing), in_place, devices)
    return checks_room.check_room(file_systems, need, in_place, params["min_free_mib"])
