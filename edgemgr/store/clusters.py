"""Writes of Cluster; called by `status` alone."""

from __future__ import annotations

from sqlmodel import Session

from edgemgr.model.cluster import Cluster


def of_site(session: Session, site_id: int) -> Cluster:
    """The observed state of a site, made at the first contact."""
    cluster = session.get(Cluster, site_id)
    if cluster is None:
        cluster = Cluster(site_id=site_id)
        session.add(cluster)
    return cluster
