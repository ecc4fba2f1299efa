"""Writing and reading the record of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from edgemgr.model.event import Event, EventType, Reason


def record(
    session: Session,
    reason: Reason,
    message: str,
    *,
    actor: str,
    site_id: int | None = None,
    site_name: str | None = None,
    operation_id: int | None = None,
    warning: bool = False,
) -> None:
    """Add one event to the transaction that makes it true."""
    session.add(
        Event(
            type=EventType.WARNING.value if warning else EventType.NORMAL.value,
            reason=reason.value,
            message=message,
            actor=actor,
            site_id=site_id,
            site_name=site_name,
            operation_id=operation_id,
        )
    )


@dataclass(frozen=True)
class EventFilter:
    """What events must have in common; what is not said holds for all."""

    site: str | None = None  #: its name, also of a site that is no more
    appliance_only: bool = False  #: those that are about no site
    reasons: tuple[Reason, ...] = ()
    warnings_only: bool = False
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None


def search(session: Session, wanted: EventFilter, *, limit: int) -> Sequence[Event]:
    """Events that a filter lets pass, the newest first."""
    query = select(Event).order_by(col(Event.id).desc()).limit(limit)
    if wanted.site is not None:
        query = query.where(col(Event.site_name) == wanted.site)
    if wanted.appliance_only:
        query = query.where(col(Event.site_id).is_(None))
    if wanted.reasons:
        query = query.where(col(Event.reason).in_([reason.value for reason in wanted.reasons]))
    if wanted.warnings_only:
        query = query.where(col(Event.type) == EventType.WARNING.value)
    if wanted.actor is not None:
        query = query.where(col(Event.actor) == wanted.actor)
    if wanted.since is not None:
        query = query.where(col(Event.at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(Event.at) < wanted.until)
    if wanted.before_id is not None:
        query = query.where(col(Event.id) < wanted.before_id)
    return session.exec(query).all()


def history(
    session: Session, *, site_id: int | None = None, operation_id: int | None = None, after: int = 0, limit: int = 200
) -> Sequence[Event]:
    """The newest events first; of one site or operation where given; `after` is an event id already known."""
    query = select(Event).where(col(Event.id) > after).order_by(col(Event.id).desc()).limit(limit)
    if site_id is not None:
        query = query.where(col(Event.site_id) == site_id)
    if operation_id is not None:
        query = query.where(col(Event.operation_id) == operation_id)
    return session.exec(query).all()
