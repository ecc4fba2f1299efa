"""Sites that an operator paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from edgemgr.model.site import Site


@dataclass(frozen=True)
class PausedSite:
    """One site that nothing is begun at until it is resumed."""

    name: str
    paused_at: datetime
    reason: str


def paused_sites(session: Session, *, limit: int) -> tuple[list[PausedSite], int]:
    """Those that were paused first, and how many there are."""
    is_paused = col(Site.paused_at).is_not(None)
    total = session.exec(select(func.count()).select_from(Site).where(is_paused)).one()
    rows = session.exec(
        select(Site.name, Site.paused_at, Site.paused_why)
        .where(is_paused)
        .order_by(col(Site.paused_at), col(Site.name))
        .limit(limit)
    ).all()
    return [PausedSite(name, paused_at, why) for name, paused_at, why in rows if paused_at is not None], total
