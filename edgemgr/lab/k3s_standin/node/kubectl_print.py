"""How kubectl shows objects in columns."""

from __future__ import annotations

import calendar
import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .kinds import Kind

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """A duration such as `90s` or `1m30s`, in seconds."""
    return float(sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text)))


def columns(rows: list[list[str]]) -> str:
    """Rows as text, three blanks between the columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def table(kind: Kind, items: list[dict[str, Any]], *, wide: bool, namespaces: bool) -> list[list[str]]:
    """Head and rows as kubectl prints them; kinds that it knows no columns for show name and age."""
    head, wide_head, row = _TABLES.get(kind.plural, ("", "", _nothing))
    rows = [
        ["NAMESPACE"] * namespaces
        + ["NAME", *head.split(), "AGE", *(wide_head.split("|") if wide and wide_head else [])]
    ]
    if kind.plural == "nodes":  # the version stands behind the age
        rows[0].insert(rows[0].index("AGE") + 1, "VERSION")
    for item in items:
        metadata = item["metadata"]
        before, after, more = row(item)
        cells = [metadata.get("namespace", "")] * namespaces + [metadata["name"], *before, age(metadata), *after]
        rows.append([str(cell) for cell in [*cells, *(more if wide else [])]])
    return rows


def age(metadata: dict[str, Any]) -> str:
    """How old an object is, in its two largest units at most."""
    made = calendar.timegm(time.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    seconds = max(0, int(time.time() - made))
    if seconds < 120:  # noqa: PLR2004 — kubectl goes over to minutes there
        return f"{seconds}s"
    if seconds < 3 * 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 2 * 86400 else f"{seconds // 86400}d"


def pod_status(pod: dict[str, Any]) -> str:
    """The word that kubectl shows for a pod: why it waits, or its phase."""
    for status in pod["status"].get("containerStatuses", []):
        state = status.get("state", {})
        reason = state.get("waiting", state.get("terminated", {})).get("reason")
        if reason:
            return str(reason)
    return str(pod["status"].get("phase", "Unknown"))


_Row = "tuple[list[Any], list[Any], list[Any]]"


def _nothing(_item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    return [], [], []


def _node(item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    status, info = item["status"], item["status"]["nodeInfo"]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
    prefix = "node-role.kubernetes.io/"
    roles = ",".join(sorted(k.removeprefix(prefix) for k in item["metadata"].get("labels", {}) if k.startswith(prefix)))
    address = next((a["address"] for a in status["addresses"] if a["type"] == "InternalIP"), "<none>")
    more = [address, "<none>", info["osImage"], info["kernelVersion"], info["containerRuntimeVersion"]]
    return ["Ready" if ready else "NotReady", roles or "<none>"], [info["kubeletVersion"]], more


def _pod(item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    statuses = item["status"].get("containerStatuses", [])
    ready = f"{sum(s['ready'] for s in statuses)}/{len(item['spec']['containers'])}"
    more = [item["status"].get("podIP", "<none>"), item["spec"].get("nodeName", "<none>"), "<none>", "<none>"]
    return [ready, pod_status(item), sum(s["restartCount"] for s in statuses)], [], more


def _deployment(item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    status = item.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{item['spec'].get('replicas', 1)}"
    return [ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0)], [], _template(item)


def _daemon_set(item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    keys = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [item.get("status", {}).get(key, 0) for key in keys], [], _template(item)


def _template(item: dict[str, Any]) -> list[Any]:
    containers = item["spec"]["template"]["spec"]["containers"]
    return [",".join(c["name"] for c in containers), ",".join(c["image"] for c in containers)]


def _phase(item: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    return [item.get("status", {}).get("phase", "")], [], []


_TABLES: dict[str, tuple[str, str, Callable[[dict[str, Any]], tuple[list[Any], list[Any], list[Any]]]]] = {
    "nodes": ("STATUS ROLES", "INTERNAL-IP|EXTERNAL-IP|OS-IMAGE|KERNEL-VERSION|CONTAINER-RUNTIME", _node),
    "pods": ("READY STATUS RESTARTS", "IP|NODE|NOMINATED NODE|READINESS GATES", _pod),
    "deployments": ("READY UP-TO-DATE AVAILABLE", "CONTAINERS|IMAGES", _deployment),
    "daemonsets": ("DESIRED CURRENT READY UP-TO-DATE AVAILABLE", "CONTAINERS|IMAGES", _daemon_set),
    "namespaces": ("STATUS", "", _phase),
}
