"""Sites by id, for whoever has chosen some: the rows, or only the names."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from edgemgr.model.site import Site
from edgemgr.store.queries import in_chunks


def names_of(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Site id → name, of those that exist."""
    found: dict[int, str] = {}
    for part in in_chunks(ids):
        rows = session.exec(select(Site.id, Site.name).where(col(Site.id).in_(part))).all()
        found.update({site_id: name for site_id, name in rows if site_id is not None})
    return found


def sites_of(session: Session, ids: Sequence[int]) -> list[Site]:
    """The sites of these ids that exist, in the order of their ids."""
    found: list[Site] = []
    for part in in_chunks(sorted(ids)):
        found += session.exec(select(Site).where(col(Site.id).in_(part)).order_by(col(Site.id))).all()
    return found
