"""The node's own object: what the kubelet reports of the machine it runs on."""

from __future__ import annotations

import os
import platform
import shutil

from .built import VERSION
from .environment import below_root
from .journal import timestamp
from .kinds import new_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def node_object(
    old: dict[str, Any] | None, name: str, address: str, data_dir: Path, labels: list[str]
) -> dict[str, Any]:
    """The node as it registers: not ready yet, with what it had before where it is known already."""
    arch = _ARCHES.get(platform.machine(), platform.machine())
    node: dict[str, Any] = old or {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}
    new_metadata(node)
    metadata, spec = node["metadata"], node["spec"]
    metadata.setdefault("labels", {}).update(
        {
            "beta.kubernetes.io/arch": arch,
            "kubernetes.io/arch": arch,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "node-role.kubernetes.io/control-plane": "true",
            "node.kubernetes.io/instance-type": "k3s",
            **dict(label.split("=", 1) for label in labels if "=" in label),
        }
    )
    metadata.setdefault("annotations", {}).update({"k3s.io/hostname": name, "k3s.io/internal-ip": address})
    spec.setdefault("podCIDR", "10.42.0.0/24")
    spec.setdefault("podCIDRs", ["10.42.0.0/24"])
    spec.setdefault("providerID", f"k3s://{name}")
    status = node.setdefault("status", {})
    status.update(
        {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "capacity": _capacity(data_dir),
            "allocatable": _capacity(data_dir),
            "nodeInfo": _node_info(arch),
        }
    )
    set_conditions(node, ready=False, message="container runtime network not ready: cni plugin not initialized")
    return node


def set_conditions(node: dict[str, Any], *, ready: bool, message: str) -> None:
    """Report the node's conditions anew, with the time of this heartbeat."""
    wanted = [(kind, "False", reason, text) for kind, reason, text in _PRESSURES]
    wanted.append(("Ready", str(ready), "KubeletReady" if ready else "KubeletNotReady", message))
    old = {condition["type"]: condition for condition in node["status"].get("conditions", [])}
    conditions, now = [], timestamp()
    for kind, status, reason, text in wanted:
        same = old.get(kind, {}).get("status") == status
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": old[kind]["lastTransitionTime"] if same else now,
                "reason": reason,
                "message": text,
            }
        )
    node["status"]["conditions"] = conditions


def _capacity(data_dir: Path) -> dict[str, str]:
    memory = next(line.split()[1] for line in _proc("meminfo").splitlines() if line.startswith("MemTotal:"))
    return {
        "cpu": str(os.cpu_count()),
        "ephemeral-storage": f"{shutil.disk_usage(data_dir).total // 1024}Ki",
        "memory": f"{memory}Ki",
        "pods": "110",
    }


def _node_info(arch: str) -> dict[str, str]:
    machine_id = below_root("/etc/machine-id")
    identity = machine_id.read_text().strip() if machine_id.exists() else ""
    return {
        "architecture": arch,
        "bootID": _proc("sys/kernel/random/boot_id").strip(),
        "containerRuntimeVersion": "containerd://0.0.0-k3s-standin",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": VERSION,
        "kubeletVersion": VERSION,
        "machineID": identity,
        "operatingSystem": "linux",
        "osImage": _os_image(),
        "systemUUID": identity,
    }


def _os_image() -> str:
    path = below_root("/etc/os-release")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), "Linux")


def _proc(name: str) -> str:
    with open(f"/proc/{name}", encoding="utf-8") as file:  # noqa: PTH123 — no root in front: it is the kernel's
        return file.read()
