"""Rules about the node itself: may k3s be put on it? Pure: facts in, checks out.

Sources: k3s docs (installation/requirements, installation/airgap) and its `check-config`.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed, warned

MIB = 1024 * 1024
COMFORTABLE_MEMORY_MIB = 1024
NEEDED_CGROUPS = ("cpu", "cpuset", "memory", "pids")
KNOWN_FAMILIES = {
    "debian", "ubuntu", "raspbian", "rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn",
    "sles", "suse", "opensuse", "opensuse-leap", "sle-micro", "sl-micro",
}  # fmt: skip


def check_host(facts: dict[str, Any], min_memory_mib: int) -> list[Check]:
    """All rules about the host, in the order in which they are shown."""
    return [
        check_os(facts["os"]),
        check_systemd(facts["systemd"]),
        check_python(facts["python"]),
        check_root(facts["uid"]),
        check_cgroups(*facts["cgroups"]),
        check_memory(facts["memory_bytes"], min_memory_mib),
        check_route(facts["has_default_route"]),
        check_selinux(facts["selinux"]),
        check_swap(facts["has_swap"]),
        check_firewall(facts["firewalls"]),
    ]


def check_os(release: dict[str, str]) -> Check:
    """A distribution of a family that k3s is tested on; others are only warned about."""
    name = release.get("PRETTY_NAME") or release.get("ID") or "unknown"
    family = {release.get("ID", "")} | set(release.get("ID_LIKE", "").split())
    if not release:
        return blocked("os", "E-PRE-OS", "the node has no /etc/os-release", "Use a Linux distribution with systemd.")
    if family & {"alpine", "openwrt"}:
        return blocked("os", "E-PRE-OS", f"{name} has no systemd", "Use a distribution with systemd.")
    if not family & KNOWN_FAMILIES:
        return warned("os", f"{name} is not a distribution that k3s is tested on")
    return passed("os", name)


def check_systemd(facts: dict[str, Any]) -> Check:
    """systemd runs and can be asked."""
    if facts["is_running"] and facts["has_systemctl"]:
        return passed("systemd", "systemd runs")
    return blocked(
        "systemd",
        "E-PRE-SYSTEMD",
        "the node does not run systemd",
        "edgemgr runs k3s as a systemd service: install the node with a distribution that boots systemd.",
    )


def check_python(facts: dict[str, Any]) -> Check:
    """The node's Python has the parts that are needed later."""
    if facts["complete"]:
        return passed("python", "Python " + facts["version"])
    return blocked(
        "python",
        "E-PRE-PYTHON",
        "Python {0} on the node has no ssl module".format(facts["version"]),
        "Install the complete python3 package (on Debian: `apt-get install python3`, not python3-minimal).",
    )


def check_root(uid: int) -> Check:
    """The tasks really run as root."""
    if uid == 0:
        return passed("sudo", "tasks run as root")
    return blocked(
        "sudo",
        "E-PRE-SUDO",
        f"the tasks run as user id {uid}, not as root",
        "Give the user the right to become root: `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/.",
    )


def check_cgroups(version: int, controllers: list[str]) -> Check:
    """The control groups that the kubelet insists on."""
    if version == 0:
        return warned("cgroup", "the kernel's control groups cannot be read")
    missing = [name for name in NEEDED_CGROUPS if name not in controllers]
    if not missing:
        return passed("cgroup", f"control groups version {version}")
    return blocked(
        "cgroup",
        "E-PRE-CGROUP",
        "the kernel's control group {0} is switched off".format(" and ".join(missing)),
        "On a Raspberry Pi add `cgroup_memory=1 cgroup_enable=memory` to /boot/firmware/cmdline.txt and reboot; "
        "elsewhere look for `cgroup_disable` on the kernel's command line.",
    )


def check_memory(total_bytes: int, min_mib: int) -> Check:
    """Enough memory for k3s itself."""
    total_mib = total_bytes // MIB
    if total_mib < min_mib:
        return blocked(
            "memory",
            "E-PRE-MEMORY",
            f"the node has {total_mib} MiB of memory, {min_mib} MiB are needed",
            "Use a larger node.",
        )
    if total_mib < COMFORTABLE_MEMORY_MIB:
        return warned("memory", f"{total_mib} MiB of memory leave little for workloads")
    return passed("memory", f"{total_mib} MiB")


def check_route(has_default_route: bool) -> Check:
    """k3s finds the node's address by the default route, with or without the internet."""
    if has_default_route:
        return passed("route", "there is a default route")
    return blocked(
        "route",
        "E-PRE-ROUTE",
        "the node has no default route, without which k3s does not start",
        "Give the network a gateway; a site without one needs a dummy interface with a default route of high metric "
        "(k3s docs, air-gap install), set up so that it survives a reboot.",
    )


def check_selinux(facts: dict[str, Any]) -> Check:
    """Under enforcing SELinux k3s needs its policy package."""
    if facts["is_enforcing"] and not facts["has_policy"]:
        return blocked(
            "selinux",
            "E-PRE-SELINUX",
            "SELinux is enforcing and the k3s policy is not installed",
            "Install the packages container-selinux and k3s-selinux on the node.",
        )
    return passed("selinux", "enforcing, with policy" if facts["is_enforcing"] else "not enforcing")


def check_swap(has_swap: bool) -> Check:
    """Swap works, but makes pods slow where they should be ended."""
    return warned("swap", "swap is on; memory limits of pods are then soft") if has_swap else passed("swap", "off")


def check_firewall(names: list[str]) -> Check:
    """A host firewall has to let the pods' networks through."""
    if names:
        opened = "6443/tcp, 10.42.0.0/16 and 10.43.0.0/16"
        return warned("firewall", "{0} is on and has to let {1} through".format(" and ".join(names), opened))
    return passed("firewall", "none")
