"""The claim: ready operations become running ones with an Attempt each, in one transaction.

Claims are made one at a time, so that limits are exact however many workers there are: on SQLite by its one writer,
on PostgreSQL by a lock of the transaction. A claim waits for nobody else there: rows that another transaction is
changing at this moment are skipped. It reads what is first in line and fits, whatever the length of the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, bindparam, func, not_, or_, select, update
from sqlmodel import Session, col

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import TRANSFER_KINDS, Operation, OperationState, WaitingFor
from edgemgr.model.room import Candidate, Room
from edgemgr.model.site import Site
from edgemgr.store import limits, upgrade_windows
from edgemgr.store.open_operations import HEAD, LATER, READY, RUNNING
from edgemgr.store.zones import served_by

#: Company for a batch is looked for among so many of the first in line of each priority.
WINDOW = 1000
#: So many of these are looked at together.
PIECE = 200
#: So many that have become due are let into the line at once.
DUE_LIMIT = 2000
#: Number of PostgreSQL's lock that claims take in turn.
_LOCK = 0x65646765


@dataclass(frozen=True)
class Claimed:
    """An operation that is ours for the length of a lease, and the attempt that carries it."""

    operation: Operation
    attempt: Attempt
    site_name: str


def anything_ready(session: Session, now: datetime, *, transfers: bool = False) -> bool:
    """Whether a claim might find something: a cheap look without a lock. Limits and zones may still say no."""
    return bool(session.execute(_LOOKS[transfers], {"now": now}).scalar())


def take_turn(session: Session) -> None:
    """Let nobody else claim until this transaction ends; on SQLite its one writer sees to that."""
    if session.connection().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def lane_of(*, transfers: bool) -> ColumnElement[bool]:
    """Condition on Operation: it moves bytes for hours or days, or else it does not. Workers have a lane for each."""
    kinds = col(Operation.kind).in_(TRANSFER_KINDS)
    return kinds if transfers else not_(kinds)


def claim(
    session: Session,
    *,
    worker_id: str,
    zones: Sequence[str],
    batch: str,
    limit: int,
    max_running: int,
    now: datetime,
    newcomers_only: bool = False,
    transfers: bool = False,
) -> list[Claimed]:
    """Take up to `limit` ready operations that may travel together, best first; at most one of a site.

    Args:
        session: a write transaction.
        worker_id: whose they become.
        zones: names of the zones that the worker serves; none serves every site.
        batch: name of the batch that carries them.
        limit: how many at most.
        max_running: how many may run at once in the whole appliance, unless a limit for `all` was set.
        now: the queue's time.
        newcomers_only: take only what belongs to a request of which nothing runs yet.
        transfers: take only transfers, which begin within what limits leave them; otherwise everything but transfers,
            and those that run take no room from it: days of sending would keep a part of the fleet closed.
    """
    take_turn(session)
    promote(session, now)
    lane = lane_of(transfers=transfers)
    conditions = [lane, *served_by(zones), *(_newcomers() if newcomers_only else [])]

    def pick() -> list[int]:
        room = limits.room(session, max_running=max_running, conditions=[] if transfers else [lane])
        return _pick(session, room, conditions, limit)

    picked = pick()
    while picked and upgrade_windows.hold_back(session, picked, now):
        picked = pick()
    return _begin(session, picked, worker_id=worker_id, batch=batch, now=now) if picked else []


def _newcomers() -> list[ColumnElement[bool]]:
    served = select(col(Operation.request)).where(HEAD, RUNNING).correlate(None)
    return [col(Operation.request).not_in(served)]


def promote(session: Session, now: datetime) -> int:
    """Let into the line what waited for a moment that has come; returns how many."""
    ids = session.execute(due(now).limit(DUE_LIMIT).with_for_update(skip_locked=True)).scalars().all()
    if ids:
        session.execute(update(Operation).where(col(Operation.id).in_(ids)).values(waiting_for=WaitingFor.TURN.value))
    return len(ids)


def due(now: datetime | BindParameter[datetime]) -> Select[int | None]:
    """What waited for a moment that has come. The order is that of the index: so PostgreSQL takes no other."""
    return select(col(Operation.id)).where(LATER, col(Operation.not_before) <= now).order_by(col(Operation.not_before))


def ready_priorities(*conditions: ColumnElement[bool]) -> Select[int]:
    """The priorities of what is ready, the highest first; in the order of the index, as above."""
    return select(col(Operation.priority)).where(READY, *conditions).order_by(col(Operation.priority).desc())


def _look(lane: ColumnElement[bool]) -> Select[bool]:
    return select(or_(ready_priorities(lane).exists(), due(bindparam("now")).where(lane).exists()))


#: The look into each lane. Built once: every worker takes it twice a second, and putting a statement together costs
#: more than it does to run it.
_LOOKS = {transfers: _look(lane_of(transfers=transfers)) for transfers in (False, True)}


def in_line(priority: int, conditions: Sequence[ColumnElement[bool]]) -> Select[int | None, int, str]:
    """What is ready in one priority, first in line first: the order of the index, which needs no sorting."""
    return (
        select(col(Operation.id), col(Operation.site_id), col(Operation.kind))
        .where(READY, col(Operation.priority) == priority, *conditions)
        .order_by(col(Operation.turn), col(Operation.id))
    )


def _priorities(session: Session) -> Iterator[int]:
    """The priorities in which something is ready, the highest first: one step in the index for each."""
    priority = session.execute(ready_priorities().limit(1)).scalar()
    while priority is not None:
        yield priority
        lower = ready_priorities(col(Operation.priority) < priority)
        priority = session.execute(lower.limit(1)).scalar()


def _pick(session: Session, room: Room, conditions: Sequence[ColumnElement[bool]], limit: int) -> list[int]:
    """The numbers of what may begin now and travels together, in the order of the line."""
    picked: list[int] = []
    key: str | None = None
    limit = min(limit, room.free)
    for priority in _priorities(session):
        is_more = len(picked) < limit
        while is_more:
            line = in_line(priority, [*conditions, *limits.outside_full(room), *_not(picked)])
            window = session.execute(line.limit(WINDOW)).all()
            if key is None and window:
                key = session.execute(
                    select(col(Operation.batch_key)).where(col(Operation.id) == window[0].id)
                ).scalar()
            full_before = room.full
            for start in range(0, len(window), PIECE):
                candidates = _candidates(session, window[start : start + PIECE], key, room)
                picked += room.pick(candidates, limit - len(picked))
                if len(picked) == limit:
                    break
            # What was passed over belongs to a part that has just become full: another look leaves all of it out.
            is_more = len(picked) < limit and len(window) == WINDOW and room.full != full_before
    return picked


def _not(ids: Sequence[int]) -> list[ColumnElement[bool]]:
    return [col(Operation.id).not_in(ids)] if ids else []


def _candidates(session: Session, rows: Sequence[Row[Any]], key: str | None, room: Room) -> Iterator[Candidate]:
    """Those of these rows that travel under this key and that nobody is changing; they are ours from here on."""
    free = set(
        session.execute(
            select(col(Operation.id))
            .where(col(Operation.id).in_([row.id for row in rows]), col(Operation.batch_key) == key, READY)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    labels = limits.limited_labels(session, [row.site_id for row in rows if row.id in free], room)
    for row in rows:
        if row.id in free:
            yield Candidate(row.id, row.kind, labels.get(row.site_id, {}))


def _begin(session: Session, ids: Sequence[int], *, worker_id: str, batch: str, now: datetime) -> list[Claimed]:
    session.execute(
        update(Operation)
        .where(col(Operation.id).in_(ids))
        .values(state=OperationState.RUNNING.value, attempts=col(Operation.attempts) + 1, waiting_for="")
    )
    rows = session.execute(
        select(Operation, col(Site.name))
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(col(Operation.id).in_(ids))
        .order_by(col(Operation.priority).desc(), col(Operation.turn), col(Operation.id))
    ).all()
    claimed = []
    for operation, site_name in rows:
        attempt = Attempt(
            operation_id=operation.id or 0,
            number=operation.attempts,
            worker_id=worker_id,
            batch=batch,
            started_at=now,
        )
        session.add(attempt)
        claimed.append(Claimed(operation, attempt, site_name))
    session.flush()
    return claimed
