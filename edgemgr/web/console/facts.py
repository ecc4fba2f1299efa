"""What a site reported of itself, chosen and put into words. A site may report anything: what is odd is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgemgr.model.cluster import Cluster
from edgemgr.web.rendering import size

_SOON_DAYS = 30
_SOON_AUTHORITY_DAYS = 365  #: k3s does not renew it: somebody has to think of it
_LITTLE_DISK = 0.1


@dataclass(frozen=True)
class Fact:
    """One line. A moment is shown by its distance from now; `tone` is empty or `warn`."""

    label: str
    text: str = ""
    moment: datetime | None = None
    tone: str = ""


def facts_of(cluster: Cluster, now: datetime) -> list[Fact]:
    """The facts that are known, in the order in which they are shown."""
    return [fact for fact in _facts(cluster, now) if fact.text or fact.moment]


def _facts(cluster: Cluster, now: datetime) -> Iterator[Fact]:
    told = cluster.facts
    yield Fact("Node", cluster.node_name or "")
    yield Fact("System", cluster.os or "")
    yield Fact("Kernel", _text(told, "kernel"))
    yield Fact("Architecture", cluster.arch or "")
    yield Fact("CPUs", _count(told, "cpus"))
    memory = _number(told, "memory_bytes")
    yield Fact("Memory", size(memory) if memory else "")
    yield _disk(told)
    yield _pods(told)
    expires_at = _moment(told, "leaf_expires_at") or _moment(told, "certificate_expires_at")
    is_soon = expires_at is not None and (expires_at - now).days < _SOON_DAYS
    yield Fact("Certificate ends", moment=expires_at, tone="warn" if is_soon else "")
    authority_at = _moment(told, "ca_expires_at")
    is_near = authority_at is not None and (authority_at - now).days < _SOON_AUTHORITY_DAYS
    yield Fact("Authority ends", moment=authority_at, tone="warn" if is_near else "")
    yield _datastore(told)
    yield Fact("Booted", moment=_moment(told, "boot_at"))
    yield Fact("Kubelet", _text(told, "kubelet_version"))
    yield Fact("Container runtime", _text(told, "container_runtime"))
    yield Fact("Cluster", cluster.cluster_id or "")
    yield Fact("Observed", moment=cluster.observed_at)


def _disk(told: dict[str, Any]) -> Fact:
    free, whole = _number(told, "disk_free_bytes"), _number(told, "disk_size_bytes")
    if not free or not whole:
        return Fact("Disk")
    return Fact("Disk", f"{size(free)} free of {size(whole)}", tone="warn" if free < whole * _LITTLE_DISK else "")


def _datastore(told: dict[str, Any]) -> Fact:
    kind, length = _text(told, "datastore"), _number(told, "datastore_bytes")
    return Fact("Datastore", f"{kind}, {size(length)}" if kind and length else kind)


def _pods(told: dict[str, Any]) -> Fact:
    ready, meant = _number(told, "pods_ready"), _number(told, "pods_total")
    if ready is None or meant is None:
        return Fact("System pods", _count(told, "system_pods"))
    return Fact("Pods", f"{ready:.0f} of {meant:.0f} ready", tone="warn" if ready < meant else "")


def _number(told: dict[str, Any], key: str) -> float | None:
    value = told.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _count(told: dict[str, Any], key: str) -> str:
    value = _number(told, key)
    return "" if value is None else f"{value:.0f}"


def _text(told: dict[str, Any], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) else ""


def _moment(told: dict[str, Any], key: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(told, key))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
