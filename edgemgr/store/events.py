"""Writing and reading the record of what happened."""

from __future__ import annotations

from collections.abc import Sequence

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
