"""Which of the history may go, and its removal in small transactions.

Of each site and kind of operation the newest that have ended are kept. What is open is never touched, and neither is
the newest ended operation of each kind of a site. An operation takes its attempts and its events along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Table, delete, func, or_, select
from sqlmodel import Session, col

from edgemgr.model.attempt import Attempt
from edgemgr.model.event import Event, Reason
from edgemgr.model.operation import ENDED_STATES, Operation
from edgemgr.model.site import Site
from edgemgr.store.open_operations import OPERATIONS

_EVENTS: Table = Event.__table__  # type: ignore[attr-defined]  # every table class has it
#: Events that pins are judged by: they stay, however old (store/host_keys.py).
_FOR_GOOD = (Reason.HOST_KEY_PINNED.value, Reason.HOST_KEY_MISMATCH.value)
#: Events that belong to no operation's number and come again and again: of each the newest of a site are kept.
_ROUTINE = (Reason.OPERATION_QUEUED.value, Reason.SITE_BACK.value, Reason.SITE_LOST_CONTACT.value)
#: A date so far ahead of the present was written by a clock that stood wrong.
_AHEAD = timedelta(days=1)


@dataclass(frozen=True)
class Kept:
    """What is kept of the history."""

    per_kind: int  #: the newest ended operations of each kind of a site
    since: datetime | None  #: of them, those that ended since; None: whatever their age


@dataclass(frozen=True)
class Prunable:
    """What may go, of some sites."""

    operations: tuple[int, ...]
    events: tuple[int, ...]


@dataclass(frozen=True)
class OldEvents:
    """Some of the oldest events that are left."""

    ids: tuple[int, ...]  #: those that may go
    operation_ids: tuple[int | None, ...]  #: whose they are, in the same order
    last_id: int  #: where to go on
    has_more: bool


def next_sites(session: Session, after: int, count: int) -> list[int]:
    """The ids of the next sites."""
    found = session.execute(select(col(Site.id)).where(col(Site.id) > after).order_by(col(Site.id)).limit(count))
    return [number for number in found.scalars() if number is not None]


def count_sites(session: Session) -> int:
    """How many sites there are."""
    number: int = session.execute(select(func.count()).select_from(Site)).scalar_one()
    return number


def prunable(session: Session, site_ids: Sequence[int], kept: Kept) -> Prunable:
    """What may go of these sites: ended operations, and events that come again and again."""
    place = func.row_number().over(
        partition_by=[col(Operation.site_id), col(Operation.kind)], order_by=col(Operation.id).desc()
    )
    ended = (
        select(col(Operation.id), col(Operation.finished_at), place.label("place"))
        .where(col(Operation.site_id).in_(site_ids), col(Operation.state).in_([item.value for item in ENDED_STATES]))
        .with_hint(OPERATIONS, "INDEXED BY operation_site", "sqlite")
        .subquery()
    )
    goes: ColumnElement[bool] = ended.c.place > kept.per_kind
    if kept.since is not None:
        goes = or_(goes, ended.c.finished_at < kept.since)
    operations = session.execute(select(ended.c.id).where(ended.c.place > 1, goes)).scalars().all()
    order = func.row_number().over(partition_by=[col(Event.site_id), col(Event.reason)], order_by=col(Event.id).desc())
    routine = (
        select(col(Event.id), order.label("place"))
        .where(
            col(Event.site_id).in_(site_ids), col(Event.operation_id).is_(None), col(Event.reason).in_(list(_ROUTINE))
        )
        # Left to itself, SQLite walks every event that belongs to no operation.
        .with_hint(_EVENTS, "INDEXED BY event_site", "sqlite")
        .subquery()
    )
    events = session.execute(select(routine.c.id).where(routine.c.place > max(kept.per_kind, 1))).scalars().all()
    return Prunable(tuple(operations), tuple(events))


def old_events(session: Session, *, after_id: int, before: datetime, now: datetime, count: int) -> OldEvents:
    """Look at the next events in the order of their ids, for those that were written before a moment.

    There are no more when all that were looked at are younger; dates of a clock that stood wrong are passed over.
    """
    rows = session.execute(
        select(col(Event.id), col(Event.at), col(Event.reason), col(Event.operation_id))
        .where(col(Event.id) > after_id)
        .order_by(col(Event.id))
        .limit(count)
    ).all()
    old = [row for row in rows if row.at < before and row.reason not in _FOR_GOOD]
    may_go_on = any(row.at < before or row.at > now + _AHEAD for row in rows)
    return OldEvents(
        ids=tuple(row.id for row in old),
        operation_ids=tuple(row.operation_id for row in old),
        last_id=rows[-1].id if rows else after_id,
        has_more=may_go_on and len(rows) == count,
    )


def events_of(session: Session, operation_ids: Sequence[int]) -> int:
    """How many events would go along with these operations."""
    chosen = select(func.count()).select_from(Event).where(col(Event.operation_id).in_(operation_ids))
    number: int = session.execute(chosen).scalar_one()
    return number


def delete_operations(session: Session, ids: Sequence[int]) -> tuple[int, int]:
    """Delete ended operations with their attempts and events; returns how many operations and events."""
    ended = col(Operation.state).in_([item.value for item in ENDED_STATES])
    found = session.execute(select(col(Operation.id)).where(col(Operation.id).in_(ids), ended)).scalars().all()
    chosen = [number for number in found if number is not None]
    events = session.execute(delete(Event).where(col(Event.operation_id).in_(chosen)))
    session.execute(delete(Operation).where(col(Operation.id).in_(chosen)))  # attempts go by cascade
    return len(chosen), events.rowcount  # type: ignore[attr-defined]


def delete_events(session: Session, ids: Sequence[int]) -> int:
    """Delete events; returns how many there were."""
    deleted: int = session.execute(delete(Event).where(col(Event.id).in_(ids))).rowcount  # type: ignore[attr-defined]
    return deleted


def last_told(session: Session) -> datetime | None:
    """When a removal of history was last recorded. The event is no site's: few are."""
    told = select(col(Event.at)).where(col(Event.site_id).is_(None), col(Event.reason) == Reason.HISTORY_PRUNED.value)
    found: datetime | None = session.execute(told.order_by(col(Event.id).desc()).limit(1)).scalar()
    return found


def known_attempts(session: Session, first: int, last: int) -> set[int]:
    """The ids of the attempts there are, between two ids, both included."""
    found = session.execute(select(col(Attempt.id)).where(col(Attempt.id) >= first, col(Attempt.id) <= last))
    return {number for number in found.scalars() if number is not None}
