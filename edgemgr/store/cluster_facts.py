"""What was observed of some sites, one thing at a time: the version of their k3s, the number of their token."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster
from edgemgr.store.queries import in_chunks


def versions_of(session: Session, site_ids: Sequence[int]) -> dict[int, str]:
    """Site → the k3s that was last seen there; sites without one are left out."""
    found: dict[int, str] = {}
    for part in in_chunks(site_ids):
        query = select(col(Cluster.site_id), col(Cluster.k3s_version)).where(
            col(Cluster.site_id).in_(part), col(Cluster.k3s_version).is_not(None)
        )
        found.update((site_id, version) for site_id, version in session.execute(query))
    return found


def tokens_of(session: Session, site_ids: Sequence[int]) -> dict[int, int]:
    """Site → which server token it told to have last, by its number; sites that told none are left out."""
    found: dict[int, int] = {}
    for part in in_chunks(site_ids):
        query = select(col(Cluster.site_id), col(Cluster.facts)).where(col(Cluster.site_id).in_(part))
        for site_id, facts in session.execute(query):
            number = (facts or {}).get("token_number")
            if isinstance(number, int) and not isinstance(number, bool):  # a site may tell anything
                found[site_id] = number
    return found
