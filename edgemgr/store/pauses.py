"""Pausing sites: what runs goes on, nothing new begins, and everything that waits is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, update
from sqlmodel import Session, col, select

from edgemgr.model.event import Event, EventType, Reason
from edgemgr.model.operation import Operation, WaitingFor
from edgemgr.model.site import Site
from edgemgr.store.open_operations import HEAD, QUEUED, RUNNING
from edgemgr.store.operations import lock_sites
from edgemgr.store.queries import in_chunks


@dataclass(frozen=True)
class Effect:
    """What pausing or resuming came to."""

    sites: tuple[str, ...]  #: names of those that changed
    unchanged: int  #: sites that were paused, or were not, already
    waiting: int  #: operations that wait until they are resumed, or no longer do
    running: int  #: operations that run on at these sites


def is_paused(session: Session, site_id: int) -> bool:
    """Whether an operator paused this site."""
    paused = select(Site.id).where(col(Site.id) == site_id, col(Site.paused_at).is_not(None))
    return session.exec(paused).first() is not None


def pause(
    session: Session, site_ids: Sequence[int], *, reason: str, actor: str, now: datetime, dry_run: bool = False
) -> Effect:
    """Begin nothing new at these sites until they are resumed. Sites that are paused already keep their reason."""
    change = _Change(
        Reason.SITE_PAUSED,
        f"paused: {reason}" if reason else "paused",
        of=col(Site.paused_at).is_(None),
        site={"paused_at": now, "paused_why": reason},
        waiting={"waiting_for": WaitingFor.RESUME.value},
    )
    return _apply(session, site_ids, change, actor=actor, now=now, dry_run=dry_run)


def resume(session: Session, site_ids: Sequence[int], *, actor: str, now: datetime, dry_run: bool = False) -> Effect:
    """Let everything that waits at these sites go on, at once."""
    change = _Change(
        Reason.SITE_RESUMED,
        "resumed",
        of=col(Site.paused_at).is_not(None),
        site={"paused_at": None, "paused_why": ""},
        waiting={"waiting_for": WaitingFor.TURN.value, "not_before": now},
    )
    return _apply(session, site_ids, change, actor=actor, now=now, dry_run=dry_run)


@dataclass(frozen=True)
class _Change:
    """What becomes of sites and of what waits there."""

    reason: Reason
    told: str
    of: ColumnElement[bool]  #: the sites that it changes; the others are so already
    site: dict[str, Any]
    waiting: dict[str, Any]


def _apply(
    session: Session, site_ids: Sequence[int], change: _Change, *, actor: str, now: datetime, dry_run: bool
) -> Effect:
    names: list[str] = []
    waiting = running = 0
    for part in in_chunks(sorted(set(site_ids))):
        lock_sites(session, part)
        rows = session.exec(select(Site.id, Site.name).where(col(Site.id).in_(part), change.of)).all()
        if not rows:
            continue
        ids = [site_id for site_id, _ in rows]
        here = col(Operation.site_id).in_(ids)
        waiting += session.exec(select(func.count()).select_from(Operation).where(here, QUEUED)).one()
        running += session.exec(select(func.count()).select_from(Operation).where(here, HEAD, RUNNING)).one()
        names += [name for _, name in rows]
        if dry_run:
            continue
        session.execute(update(Site).where(col(Site.id).in_(ids)).values(**change.site))
        session.execute(update(Operation).where(here, QUEUED).values(**change.waiting))
        common = {"at": now, "type": EventType.NORMAL.value, "reason": change.reason.value, "message": change.told}
        session.execute(
            insert(Event), [{**common, "actor": actor, "site_id": site_id, "site_name": name} for site_id, name in rows]
        )
    return Effect(tuple(sorted(names)), len(set(site_ids)) - len(names), waiting, running)
