"""What care reads: what was told of many sites, how full their disks were, and their newest backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.disk_history import DiskHistory
from edgemgr.model.expiry import CareFacts
from edgemgr.model.operation import Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.store import backups
from edgemgr.store.queries import in_chunks


def care_facts(session: Session, site_ids: Sequence[int]) -> list[CareFacts]:
    """What is known of these sites."""
    newest = backups.newest(session, site_ids)
    found: list[CareFacts] = []
    for part in in_chunks(site_ids):
        found += [_facts(row, newest) for row in session.execute(_FACTS.where(col(Site.id).in_(part)))]
    return found


def renewable(session: Session, asked_before: datetime) -> list[CareFacts]:
    """Sites with k3s that answer, are not paused, and were not asked since then to renew their certificates."""
    asked = select(col(Operation.id)).where(
        col(Operation.site_id) == col(Site.id),
        col(Operation.kind) == OperationKind.ROTATE_CERTIFICATES.value,
        col(Operation.created_at) > asked_before,
    )
    query = _FACTS.where(
        col(Cluster.reachability) == Reachability.REACHABLE.value,
        col(Site.paused_at).is_(None),
        ~asked.exists(),
    )
    return [facts for row in session.execute(query) if (facts := _facts(row, {})).has_k3s]


_FACTS: Select[*tuple[Any, ...]] = (
    select(
        col(Site.id),
        col(Site.name),
        col(Site.created_at),
        col(Site.timezone),
        col(Site.profile),
        col(Cluster.observed_at),
        col(Cluster.k3s_version),
        col(Cluster.facts),
        col(DiskHistory.points),
    )
    .select_from(Site)
    .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
    .outerjoin(DiskHistory, col(DiskHistory.site_id) == col(Site.id))
)


def _facts(row: Row[Any], newest: Mapping[int, datetime]) -> CareFacts:
    return CareFacts(
        site_id=row.id,
        name=row.name,
        created_at=row.created_at,
        timezone=row.timezone,
        profile=row.profile,
        observed_at=row.observed_at,
        k3s_version=row.k3s_version or "",
        told=row.facts or {},
        disk=[(day, used) for day, used in row.points or ()],
        backup_at=newest.get(row.id),
    )
