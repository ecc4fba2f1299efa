"""What preflight and report want to know about a node, read without changing anything."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout

#: The machine names of the kernel → the names that k3s gives its architectures.
ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "armv8l": "armhf"}

_START_TIME = 19  # proc(5), /proc/PID/stat: the field after the name's ")", counted from 0


def text(path: str, default: str = "") -> str:
    """A small file's text; the default when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return default


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release."""
    content = text("/etc/os-release") or text("/usr/lib/os-release")
    return {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*)$", content, re.MULTILINE)}


def arch() -> str:
    """The node's architecture in k3s' words; the kernel's own name when k3s has none for it."""
    machine = platform.machine()
    return ARCHES.get(machine, machine)


def memory_bytes() -> int:
    """The memory that the kernel manages."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def boot_at() -> float:
    """When the node was booted, in seconds since 1970; in a container: when the container was."""
    return process_started_at(1)


def process_started_at(pid: int) -> float:
    """When a process was started, in seconds since 1970; 0 when there is no such process."""
    booted = re.search(r"^btime (\d+)", text("/proc/stat"), re.MULTILINE)
    fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not booted or not fields:
        return 0
    return int(booted.group(1)) + int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")


def existing(path: str) -> str:
    """The nearest directory above `path` that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def file_system(path: str) -> dict[str, Any]:
    """Room and nature of the file system that `path` lies on or will lie on."""
    place = existing(path)
    status = os.statvfs(place)
    return {
        "device": os.stat(place).st_dev,
        "size_bytes": status.f_blocks * status.f_frsize,
        "free_bytes": status.f_bavail * status.f_frsize,
        "inodes": status.f_files,
        "inodes_free": status.f_favail,
        "read_only": bool(status.f_flag & os.ST_RDONLY),
        "no_exec": bool(status.f_flag & os.ST_NOEXEC),
    }


def cgroups() -> tuple[int, list[str]]:
    """The controllers that the kernel offers here: (version 1 or 2, names); (0, []) when nothing can be read."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return 2, text("/sys/fs/cgroup/cgroup.controllers").split()
    names = re.findall(r"^(\w+)\s+\d+\s+\d+\s+1$", text("/proc/cgroups"), re.MULTILINE)
    return (1, names) if names else (0, [])


def python() -> dict[str, Any]:
    """The version of the Python that runs this, and whether the parts that edgemgr needs are installed."""
    try:
        import ssl  # noqa: F401  (Debian's python3-minimal has none)
    except ImportError:
        complete = False
    else:
        complete = True
    return {"version": "{0}.{1}.{2}".format(*sys.version_info[:3]), "complete": complete}


def foreign_k3s() -> list[str]:
    """Signs of a Kubernetes that runs or has run here."""
    return [path for path in FOREIGN if os.path.lexists(path)]


FOREIGN = (
    layout.K3S,
    "/usr/bin/k3s",
    "/opt/bin/k3s",
    layout.UNIT_FILE,
    "/etc/systemd/system/k3s-agent.service",
    "/usr/lib/systemd/system/k3s.service",
    layout.CONFIG,
    layout.DATA_DIR + "/server",
    "/usr/local/bin/rke2",
    "/usr/bin/rke2",
    "/var/lib/rancher/rke2",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/k0s",
    "/snap/bin/microk8s",
)


def selinux() -> dict[str, bool]:
    """Whether SELinux enforces, and whether k3s' policy is there."""
    policies = ("/usr/share/selinux/packages/k3s.pp", "/usr/share/selinux/packages/k3s.pp.bz2")
    return {
        "is_enforcing": text("/sys/fs/selinux/enforce").strip() == "1",
        "has_policy": any(os.path.exists(path) for path in policies),
    }


def cpus() -> int:
    """How many processors this node may use."""
    return len(os.sched_getaffinity(0))
