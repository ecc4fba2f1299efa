"""Writes of Cluster; called by `status` alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from edgemgr.model.cluster import Cluster


def of_site(session: Session, site_id: int) -> Cluster:
    """The observed state of a site, made at the first contact."""
    cluster = session.get(Cluster, site_id)
    if cluster is None:
        cluster = Cluster(site_id=site_id)
        session.add(cluster)
    return cluster


def observed_before(session: Session, moment: datetime, *, limit: int) -> Sequence[int]:
    """Sites with k3s that were reachable and whose observation is older than `moment`, oldest first."""
    return session.exec(
        select(Cluster.site_id)
        .where(
            col(Cluster.observed_at) < moment,
            col(Cluster.k3s_version).is_not(None),
            col(Cluster.reachability) == "reachable",
        )
        .order_by(col(Cluster.observed_at))
        .limit(limit)
    ).all()
