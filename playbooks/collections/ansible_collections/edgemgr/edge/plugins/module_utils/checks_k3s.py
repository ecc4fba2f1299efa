"""Rules about k3s: what is there already, what is asked for, and what stands in its way. Pure."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config, marker
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed, warned
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, parse

OLDEST = (1, 20)
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)

#: TCP ports that k3s listens on (k3s docs, requirements; Kubernetes docs, ports and protocols).
PORTS = {
    6443: "API",
    6444: "internal API",
    10010: "containerd",
    10248: "kubelet health",
    10249: "kube-proxy metrics",
    10250: "kubelet",
    10256: "kube-proxy health",
    10257: "controller manager",
    10259: "scheduler",
}
INGRESS_PORTS = (80, 443)


def ports_of(config: dict[str, Any]) -> dict[int, str]:
    """The ports that a configuration makes k3s listen on: port → what for."""
    ports = dict(PORTS)
    chosen = str(config.get("https-listen-port", ""))
    if chosen.isdigit():
        ports[int(chosen)] = ports.pop(6443)
    return ports


def check_arch(arch: str, expected: str, artifacts: list[dict[str, Any]]) -> Check:
    """The node's architecture against the one in the inventory and those of the release."""
    if expected and expected != arch:
        return blocked(
            "arch",
            "E-PRE-ARCH",
            f"the node is {arch}, the inventory says {expected}",
            "Correct the site's arch, or check that the address belongs to the right node.",
        )
    for part in ("binary", "images"):
        if not any(each["part"] == part and each["arch"] == arch for each in artifacts):
            has = sorted({each["arch"] for each in artifacts}) or ["nothing"]
            return blocked(
                "arch",
                "E-PRE-ARCH",
                "the node is {0}; the release has {1}".format(arch, " and ".join(has)),
                f"Add the release's files for {arch} with `edgemgr release add`.",
            )
    return passed("arch", arch)


def check_owner(found: list[str], installed: dict[str, Any] | None, link: str | None, active: bool) -> Check:
    """A Kubernetes on the node must be ours.

    `found` are its traces, `installed` is the marker or None, `link` the target of /usr/local/bin/k3s ("" when it is
    no link, None when there is nothing).
    """
    hint = "Choose another node, or remove what is there (for k3s: k3s-uninstall.sh) after saving its data."
    if installed is None and found:
        message = "there is a Kubernetes on the node that edgemgr did not install ({0})".format(", ".join(found))
        return blocked("foreign", "E-PRE-FOREIGN", message, hint)
    if installed is not None and link == "":
        message = "the k3s that edgemgr installed was replaced by another (/usr/local/bin/k3s)"
        return blocked("foreign", "E-PRE-FOREIGN", message, hint)
    if installed is None:
        return passed("foreign", "no Kubernetes on the node")
    return passed("foreign", "k3s by edgemgr, {0}".format("running" if active else "not running"))


def check_version(wanted: str, installed: dict[str, Any] | None, has_data: bool) -> Check:
    """A bootstrap installs, or converges the same version; it never moves a cluster to another one."""
    version = parse(wanted)
    if version is None or version[:2] < OLDEST:
        hint = "Name a release such as v1.33.5+k3s1."
        return blocked("version", "E-PRE-VERSION", f"{wanted!r} is no k3s version from v1.20 on", hint)
    if installed is not None and installed["state"] == marker.REMOVING:
        hint = "Run the reset again, then bootstrap."
        return blocked("version", "E-PRE-RESET", "a reset of this node was begun and not finished", hint)
    if installed is None or installed["version"] == wanted:
        return passed("version", wanted)
    return _check_other_version(wanted, version, installed, has_data)


def _check_other_version(wanted: str, version: K3sVersion, installed: dict[str, Any], has_data: bool) -> Check:
    there = installed["version"]
    if installed["state"] == marker.INSTALLING and not has_data:
        return passed("version", f"{wanted} (an unfinished {there} has not run yet)")
    old = parse(there)
    if old is not None and version < old:
        return blocked(
            "version",
            "E-PRE-DOWNGRADE",
            f"the node has {there}, which is newer than {wanted}",
            f"k3s cannot go back to an older version with its data: bootstrap with {there}, or reset first.",
        )
    if old is not None and version.minor > old.minor + 1:
        return blocked(
            "version",
            "E-PRE-SKIP",
            f"from {there} to {wanted} minor versions would be skipped",
            "Upgrade one minor version at a time (Kubernetes version skew policy).",
        )
    return blocked(
        "version",
        "E-PRE-VERSION",
        f"the node has {there}, not {wanted}",
        f"A bootstrap does not change the version: bootstrap with {there}, or upgrade the site.",
    )


def check_config(site: str, extra: dict[str, Any], installed: dict[str, Any] | None) -> Check:
    """The site's name and the options that its profile adds."""
    found = k3s_config.faults(extra)
    if len(site) > 253 or not _NODE_NAME.fullmatch(site):  # noqa: PLR2004  (RFC 1123, as Kubernetes has it)
        found.insert(0, f"the site's name {site!r} cannot be a node's name")
    there = (installed or {}).get("site", site)
    if there != site:
        found.append(f"the node was installed as {there!r} and cannot be renamed to {site!r}")
    encrypted = (installed or {}).get("secrets_encryption")
    if encrypted is not None and encrypted != extra.get("secrets-encryption", True):
        found.append("secrets-encryption cannot be changed after the first start")
    if found:
        hint = "Correct the file given with --config."
        return blocked("config", "E-PRE-CONFIG", "the k3s configuration is refused: " + "; ".join(found), hint)
    return passed("config", f"{len(extra)} options of the profile")


def check_ports(listeners: dict[int, str], ports: dict[int, str]) -> list[Check]:
    """Nobody else listens where k3s will; `listeners` maps a port to who has it."""
    checks = []
    taken = [f"{port} ({ports[port]}) by {who}" for port, who in sorted(listeners.items()) if port in ports]
    if taken:
        hint = "Stop that service or move it to another port; https-listen-port moves the API."
        checks.append(blocked("ports", "E-PRE-PORTS", "ports of k3s are taken: " + ", ".join(taken), hint))
    ingress = [f"{port} by {who}" for port, who in sorted(listeners.items()) if port in INGRESS_PORTS]
    if ingress:
        checks.append(warned("ports", "the ingress will share or miss port " + ", ".join(ingress)))
    return checks or [passed("ports", "free")]
