"""Rules about what an upgrade meets in the cluster: the node's address, and uses of old APIs. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed, warned
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion

#: A gauge of the API server: 1 for each deprecated API that somebody has asked for since it was started, with the
#: version that takes it away (Kubernetes docs, deprecation policy, REST resources).
_METRIC = "apiserver_requested_deprecated_apis{"
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)
_NODE_IP = re.compile(r"^node-ip\+?:(.*(?:\n\s*- .*)*)", re.MULTILINE)
_NAMED = 5


def addresses_of(config: str) -> list[str]:
    """The node's addresses that a config.yaml of k3s names; what is no address is left to k3s."""
    found = _NODE_IP.search(config)
    words = re.split(r"[\s,\"'\[\]]+|- ", found.group(1)) if found else []
    return [word for word in words if _is_address(word)]


def registered_addresses(node: dict[str, Any]) -> list[str]:
    """The addresses under which a node object is known in the cluster."""
    listed = node.get("status", {}).get("addresses", [])
    return [each["address"] for each in listed if each["type"] == "InternalIP" and _is_address(each["address"])]


def check_address(configured: list[str], registered: list[str], own: set[str], is_etcd: bool) -> Check:
    """k3s starts with the addresses that its configuration names, or else finds one; `own` are those the node has."""
    lost = [each for each in configured if each not in own]
    if lost:
        return blocked(
            "address",
            "E-PRE-ADDRESS",
            "the configuration names {0} (node-ip), which is no address of the node".format(" and ".join(lost)),
            "Give the node its address again, or correct node-ip in the site's configuration.",
        )
    gone = [each for each in registered if each not in own]
    if gone and is_etcd:
        return blocked(
            "address",
            "E-PRE-ADDRESS",
            "etcd knows the node by {0}, which it no longer has, and would not start again".format(" and ".join(gone)),
            "Give the node its address again.",
        )
    if gone:
        return warned("address", "the cluster knows the node by {0}, which it no longer has".format(" and ".join(gone)))
    return passed("address", " and ".join(configured or registered) or "found by k3s")


def removed_uses(metrics: str, before: K3sVersion, after: K3sVersion) -> list[str]:
    """What somebody has asked the API for and the versions after `before`, up to `after`, no longer have; sentences."""
    found = set()
    for line in metrics.splitlines():
        labels = dict(_LABEL.findall(line)) if line.startswith(_METRIC) else {}
        release = _RELEASE.fullmatch(labels.get("removed_release", ""))
        if release is None:
            continue
        gone = (int(release.group(1)), int(release.group(2)))
        if (before.major, before.minor) < gone <= (after.major, after.minor):
            name = "/".join(filter(None, (labels.get("group"), labels.get("version"), labels.get("resource"))))
            found.add("{0}, which v{1}.{2} takes away".format(name, *gone))
    return sorted(found)


def check_apis(uses: list[str] | None) -> Check:
    """Warned of only: one look at an old API by somebody is noted like a workload that lives by it."""
    if uses is None:
        return passed("apis", "the API does not tell whether old ones are in use")
    if not uses:
        return passed("apis", "nobody has asked for one that goes since k3s was started")
    more = " and {0} more".format(len(uses) - _NAMED) if len(uses) > _NAMED else ""
    return warned("apis", "somebody uses " + "; ".join(uses[:_NAMED]) + more)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
