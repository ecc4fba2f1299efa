"""The only writer of Cluster."""

from __future__ import annotations

from datetime import datetime

from edgemgr.model.cluster import Cluster, Health, Observation, Reachability
from edgemgr.model.event import Reason
from edgemgr.store import clusters, events
from edgemgr.store.database import Session

_GOOD = frozenset({Health.HEALTHY.value, Health.UNKNOWN.value})


def note_contact(
    session: Session, site_id: int, site_name: str, *, reachable: bool, detail: str, now: datetime
) -> None:
    """Write whether a site answered just now; an event only when that changed."""
    cluster = clusters.of_site(session, site_id)
    before = cluster.reachability
    cluster.tried_at = now
    cluster.reachability_reason = "" if reachable else detail
    cluster.reachability = (Reachability.REACHABLE if reachable else Reachability.UNREACHABLE).value
    if reachable:
        cluster.contact_at = now
    if before == cluster.reachability:
        return
    if not reachable:
        events.record(
            session,
            Reason.SITE_LOST_CONTACT,
            f"does not answer: {detail}",
            actor="queue",
            site_id=site_id,
            site_name=site_name,
            warning=True,
        )
    elif before == Reachability.UNREACHABLE.value:
        events.record(session, Reason.SITE_BACK, "answers again", actor="queue", site_id=site_id, site_name=site_name)


def apply_observation(session: Session, site_id: int, site_name: str, observation: Observation) -> None:
    """Write what was observed, unless something newer is known; an event only when health changed."""
    cluster = clusters.of_site(session, site_id)
    if cluster.observed_at is not None and cluster.observed_at > observation.observed_at:
        return
    before = cluster.health
    _copy(observation, cluster)
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
    # A probe sees less than a report: what it is silent about stays, as long as there is a k3s.
    cluster.facts = {**cluster.facts, **observation.facts} if observation.k3s_version else observation.facts
