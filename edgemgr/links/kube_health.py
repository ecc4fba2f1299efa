"""What a cluster's own objects say of its health: pure rules over JSON that may be incomplete or hostile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from edgemgr.links.kube_client import ClusterState
from edgemgr.model.cluster import Health, Observation

_NAMES = 5
_TEXT = 120
_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")


def assess(state: ClusterState, observed_at: datetime) -> Observation:
    """Make the Observation of what the API said.

    Failing: the API or the node is not ready. Degraded: the node is ready, but under pressure, still reports another
    version than the one that serves (seen for seconds after an upgrade), or a system workload is not ready.
    """
    nodes = list(_items(state.nodes))
    node = nodes[0] if nodes else {}
    info = _at(node, "status", "nodeInfo")
    version = _text(_at(state.version, "gitVersion"))
    kubelet = _text(_at(info, "kubeletVersion"))
    waiting = [*_unready_workloads(state), *_unready_pods(state)]
    health, reason = _judge(state, node, version=version, kubelet=kubelet, waiting=waiting)
    return Observation(
        observed_at=observed_at,
        health=health,
        health_reason=reason,
        k3s_version=version,
        node_name=_text(_at(node, "metadata", "name")),
        arch=_text(_at(info, "architecture")),
        os=_text(_at(info, "osImage")),
        cluster_id=_text(_at(state.system, "metadata", "uid")),
        facts={
            "kubelet_version": kubelet,
            "kernel": _text(_at(info, "kernelVersion")),
            "container_runtime": _text(_at(info, "containerRuntimeVersion")),
            "nodes": len(nodes),
            "system_pods": sum(1 for _ in _items(state.pods)),
            "not_ready": waiting[:50],
        },
    )


def _judge(
    state: ClusterState, node: Any, *, version: str | None, kubelet: str | None, waiting: list[str]
) -> tuple[Health, str]:
    if fault := _fatal(state, node):
        return Health.FAILING, fault
    pressure = [name for name in _PRESSURES if _at(_condition(node, name), "status") == "True"]
    if pressure:
        return Health.DEGRADED, f"the node reports {', '.join(pressure)}"
    if kubelet != version:
        return Health.DEGRADED, f"the API serves {version}, the node still reports {kubelet}"
    if waiting:
        more = f" and {len(waiting) - _NAMES} more" if len(waiting) > _NAMES else ""
        return Health.DEGRADED, f"not ready: {', '.join(waiting[:_NAMES])}{more}"
    return Health.HEALTHY, ""


def _fatal(state: ClusterState, node: Any) -> str:
    if state.ready != "ok":
        return f"the Kubernetes API is not ready: {_text(state.ready)}"
    if not node:
        return "no node has registered yet"
    ready = _condition(node, "Ready")
    if _at(ready, "status") != "True":
        return f"the node is not ready: {_text(_at(ready, 'message')) or 'it does not say why'}"
    return ""


def _unready_workloads(state: ClusterState) -> Iterator[str]:
    for item in _items(state.deployments):
        wanted = _at(item, "spec", "replicas")
        if _number(_at(item, "status", "availableReplicas")) < (1 if wanted is None else _number(wanted)):
            yield f"deployment {_name(item)}"
    for item in _items(state.daemonsets):
        status = _at(item, "status")
        if _number(_at(status, "numberReady")) < _number(_at(status, "desiredNumberScheduled")):
            yield f"daemonset {_name(item)}"


def _unready_pods(state: ClusterState) -> Iterator[str]:
    """Pods that should run and do not. Ended ones (Succeeded, Failed, evicted) speak through their owners."""
    for item in _items(state.pods):
        phase = _at(item, "status", "phase")
        if phase in ("Succeeded", "Failed") or _at(item, "metadata", "deletionTimestamp"):
            continue
        if phase != "Running" or _at(_condition(item, "Ready"), "status") != "True":
            yield f"pod {_name(item)}"


def _condition(item: Any, kind: str) -> Any:
    conditions = _at(item, "status", "conditions")
    return next((c for c in conditions if _at(c, "type") == kind), {}) if isinstance(conditions, list) else {}


def _items(listing: Any) -> Iterator[Any]:
    items = _at(listing, "items")
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else iter(())


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _name(item: Any) -> str:
    return _text(_at(item, "metadata", "name")) or "without a name"


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Any) -> str | None:
    """Make a short printable string, or None: what a site says ends up in tables and terminals."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else " " for c in value[:_TEXT]).strip() or None
