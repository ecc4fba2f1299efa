"""The only writer of Cluster, and of how full its disk was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgemgr.model.cluster import LASTING_FACTS, Cluster, Health, Observation, Reachability
from edgemgr.model.disk_history import with_point
from edgemgr.model.event import Reason
from edgemgr.model.told import Told
from edgemgr.store import clusters, disk_histories, events
from edgemgr.store.database import Session

_GOOD = frozenset({Health.HEALTHY.value, Health.UNKNOWN.value})


@dataclass(frozen=True)
class Contacted:
    """A site that was tried just now, and what was found in its place if it was not reached."""

    site_id: int
    site_name: str
    detail: str = ""


def note_contact(
    session: Session, site_id: int, site_name: str, *, reachable: bool, detail: str, now: datetime
) -> None:
    """Write whether a site answered just now; an event only when that changed."""
    contacted = [Contacted(site_id, site_name, detail)]
    note_contacts(session, contacted if reachable else [], [] if reachable else contacted, now=now)


def note_contacts(
    session: Session, reached: Sequence[Contacted], missed: Sequence[Contacted], *, now: datetime
) -> None:
    """As `note_contact`, for many sites in few statements; each site once."""
    before = clusters.reachability_of(session, [each.site_id for each in (*reached, *missed)])
    clusters.write_reached(session, [each.site_id for each in reached], known=before, now=now)
    clusters.write_missed(session, {each.site_id: each.detail for each in missed}, known=before, now=now)
    for each in missed:
        if before.get(each.site_id) != Reachability.UNREACHABLE.value:
            _tell(session, each, Reason.SITE_LOST_CONTACT, f"cannot be reached: {each.detail}", warning=True)
    for each in reached:
        if before.get(each.site_id) == Reachability.UNREACHABLE.value:
            _tell(session, each, Reason.SITE_BACK, "answers again", warning=False)


def note_tried(session: Session, tried: Mapping[int, datetime]) -> None:
    """Write when sites were tried last and did not answer, as before: site → when."""
    clusters.write_tried(session, tried)


def _tell(session: Session, each: Contacted, reason: Reason, message: str, *, warning: bool) -> None:
    events.record(
        session, reason, message, actor="queue", site_id=each.site_id, site_name=each.site_name, warning=warning
    )


def apply_observation(session: Session, site_id: int, site_name: str, observation: Observation) -> None:
    """Write what was observed, unless something newer is known; an event only when health changed."""
    cluster = clusters.of_site(session, site_id)
    if cluster.observed_at is not None and cluster.observed_at > observation.observed_at:
        return
    before = cluster.health
    _copy(observation, cluster)
    _note_disk(session, site_id, observation)
    if before == cluster.health:
        return
    why = f": {observation.health_reason}" if observation.health_reason else ""
    events.record(
        session,
        Reason.HEALTH_CHANGED,
        f"{before} → {cluster.health}{why}",
        actor="queue",
        site_id=site_id,
        site_name=site_name,
        warning=cluster.health not in _GOOD,
    )


def _copy(observation: Observation, cluster: Cluster) -> None:
    cluster.health = observation.health.value
    cluster.health_reason = observation.health_reason
    cluster.observed_at = observation.observed_at
    cluster.k3s_version = observation.k3s_version
    cluster.node_name = observation.node_name
    cluster.arch = observation.arch or cluster.arch
    cluster.os = observation.os or cluster.os
    cluster.cluster_id = observation.cluster_id
    cluster.facts = {**_staying(observation, cluster), **observation.facts}


def _note_disk(session: Session, site_id: int, observation: Observation) -> None:
    """Keep how full the disk was, by our own clock, where the look told it."""
    seen = Told(told=observation.facts)
    free, size = seen.number("disk_free_bytes"), seen.number("disk_size_bytes")
    if free is not None and size and free <= size:
        history = disk_histories.of_site(session, site_id)
        history.points = with_point(history.points, observation.observed_at, size - free)


def _staying(observation: Observation, cluster: Cluster) -> dict[str, Any]:
    """Facts of before that hold on: a probe sees less than a report, and a k3s in trouble tells less of itself."""
    if observation.k3s_version:
        return cluster.facts
    if observation.health is Health.FAILING:
        return {name: value for name, value in cluster.facts.items() if name in LASTING_FACTS}
    return {}  # k3s is gone
