"""The queue on one screen: what runs, what waits and for what, and how fast it goes. Counted in indexes only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, not_
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation, OperationState, WaitingFor
from edgemgr.model.room import ALL, Room
from edgemgr.model.scope import Scope
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.worker import Worker
from edgemgr.store import limits, workers
from edgemgr.store.open_operations import HEAD, LATER, QUEUED, READY, RUNNING
from edgemgr.store.zones import DEFAULT, LABEL

SHORT_S = 300
LONG_S = 3600
#: No count of deadlines goes beyond this.
COUNT_LIMIT = 1_000_000
NEAR_DEADLINE = timedelta(hours=24)


@dataclass(frozen=True)
class RunningOperation:
    """An operation that runs."""

    operation_id: int
    site: str
    kind: str
    worker_id: str
    started_at: datetime


@dataclass(frozen=True)
class WorkerLoad:
    """A worker that has not ended, and what it carries."""

    worker_id: str
    zones: tuple[str, ...]  #: none: it serves every site
    running: int
    oldest_at: datetime | None  #: when the oldest of its attempts began


@dataclass(frozen=True)
class LimitUse:
    """A limited part of the appliance that is in use or has a limit of its own."""

    scope: str  #: `all`, a kind, or one value of a label
    limit: str  #: the scope of the limit that holds for it, as it was set
    running: int
    most: int


@dataclass(frozen=True)
class Waiting:
    """Sites whose next operation waits for the same thing. One site may wait for several limits."""

    reason: str  #: turn, limit, zone, contact, backoff, resume
    subject: str  #: the limit's scope, as it was set, or the zone; empty otherwise
    sites: int
    oldest_at: datetime | None  #: when the oldest of these operations was asked for
    next_at: datetime | None  #: when the first of them is tried by itself


@dataclass(frozen=True)
class Rate:
    """Operations that ended within a span of time."""

    span_s: int
    succeeded: int
    failed: int  #: failed or expired
    canceled: int

    @property
    def done_per_minute(self) -> float:
        """How many were worked off a minute, well or badly."""
        return (self.succeeded + self.failed) * 60 / self.span_s


@dataclass(frozen=True)
class QueueStatus:
    """Everything that one screen tells."""

    at: datetime
    running: int
    running_by_kind: dict[str, int]
    workers: tuple[WorkerLoad, ...]
    oldest_running: tuple[RunningOperation, ...]
    limits: tuple[LimitUse, ...]
    queued: int  #: operations that wait, for whatever
    behind: int  #: of these, those behind another operation of their site
    waiting: tuple[Waiting, ...]  #: the others, the oldest first
    due_within_day: int  #: queued operations whose deadline is less than a day away
    rates: tuple[Rate, ...]
    empty_in_s: float | None  #: when nothing waits any more, at the rate of the shortest span in which anything ended

    def detail_of(self, item: Waiting) -> str:
        """How full the limit is that holds sites back; empty for whatever else they wait for."""
        if item.reason != "limit":
            return ""
        for use in self.limits:
            if use.scope == item.subject:
                return f"{use.running} of {use.most} run"
        full = sum(use.limit == item.subject and use.running >= use.most for use in self.limits)
        return f"{full} of its values full"


def queue_status(session: Session, *, max_running: int, now: datetime, oldest: int = 3) -> QueueStatus:
    """Count what there is to tell; milliseconds, however much waits and has ended.

    Args:
        session: an open session.
        max_running: the limit of the whole appliance where none was set.
        now: the queue's time.
        oldest: how many of the longest running operations are named.
    """
    room = limits.room(session, max_running=max_running)
    kinds = select(Operation.kind, func.count()).where(RUNNING).group_by(col(Operation.kind))
    by_kind = dict(session.exec(kinds.order_by(func.count().desc())).all())
    running = _running(session)
    loads = _loads(session, running)
    queued = _count(session, QUEUED)
    heads = _count(session, HEAD & not_(RUNNING))
    waiting = [*_in_line(session, room, loads), *_later(session), *_paused(session)]
    waiting.sort(key=lambda item: (item.oldest_at or now, item.reason, item.subject))
    rates = tuple(_rate(session, span_s, now) for span_s in (SHORT_S, LONG_S))
    speed = next((rate.done_per_minute for rate in rates if rate.done_per_minute), None)
    return QueueStatus(
        at=now,
        running=len(running),
        running_by_kind=by_kind,
        workers=tuple(loads),
        oldest_running=tuple(running[:oldest]),
        limits=tuple(_uses(room)),
        queued=queued,
        behind=queued - heads,
        waiting=tuple(waiting),
        due_within_day=_due_before(session, now + NEAR_DEADLINE),
        rates=rates,
        empty_in_s=queued / speed * 60 if speed else None,
    )


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.exec(select(func.count()).select_from(Operation).where(*conditions)).one()


def _due_before(session: Session, moment: datetime) -> int:
    """How many reach their deadline; ordered and bounded so that SQLite reads the index of deadlines and no other."""
    near = select(Operation.id).where(QUEUED, col(Operation.deadline_at) <= moment)
    near = near.order_by(col(Operation.deadline_at)).limit(COUNT_LIMIT)
    return session.exec(select(func.count()).select_from(near.subquery())).one()


def _running(session: Session) -> list[RunningOperation]:
    rows = session.execute(
        core_select(
            col(Operation.id), col(Site.name), col(Operation.kind), col(Attempt.worker_id), col(Attempt.started_at)
        )
        .select_from(Attempt)
        .join(Operation, col(Operation.id) == col(Attempt.operation_id))
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(col(Attempt.outcome).is_(None))
        .order_by(col(Attempt.started_at), col(Attempt.id))
    ).all()
    return [RunningOperation(number or 0, site, kind, worker, since) for number, site, kind, worker, since in rows]


def _loads(session: Session, running: Sequence[RunningOperation]) -> list[WorkerLoad]:
    counts = Counter(item.worker_id for item in running)
    oldest = {item.worker_id: item.started_at for item in reversed(running)}
    return [
        WorkerLoad(worker.id, _zones(worker), counts[worker.id], oldest.get(worker.id))
        for worker in workers.running(session)
    ]


def _zones(worker: Worker) -> tuple[str, ...]:
    return tuple(name for name in worker.zones.split(",") if name)


def _in_line(session: Session, room: Room, loads: Sequence[WorkerLoad]) -> list[Waiting]:
    """What is ready: some of it behind a limit, some in a zone that no worker serves, the rest waits for its turn."""
    if not room.free:
        held = _group(session, "limit", ALL, READY)
        return [held] if held.sites else []
    parts: dict[str, list[Scope]] = {}
    for scope in room.full:
        parts.setdefault(room.limit_of(str(scope)), []).append(scope)
    found = [_group(session, "limit", limit, READY, limits.inside(full)) for limit, full in parts.items()]
    allowed = [READY, *limits.outside_full(room)]
    turn = _group(session, "turn", "", *allowed)
    unserved = _unserved(session, allowed, loads)
    rest = turn.sites - sum(item.sites for item in unserved)
    found += [*unserved, Waiting("turn", "", rest, turn.oldest_at, None)]
    return [item for item in found if item.sites]


def _group(session: Session, reason: str, subject: str, *conditions: ColumnElement[bool]) -> Waiting:
    counted = select(func.count(), func.min(Operation.id)).select_from(Operation).where(*conditions)
    sites, first = session.exec(counted).one()
    return _waiting(session, reason, subject, sites, first)


def _waiting(session: Session, reason: str, subject: str, sites: int, first: int | None) -> Waiting:
    asked = session.exec(select(Operation.created_at).where(col(Operation.id) == first)).first() if sites else None
    return Waiting(reason, subject, sites, asked, None)


def _unserved(session: Session, ready: Sequence[ColumnElement[bool]], loads: Sequence[WorkerLoad]) -> list[Waiting]:
    if not loads:
        return [_group(session, "zone", "every zone", *ready)]
    if any(not load.zones for load in loads):
        return []
    served = {name for load in loads for name in load.zones}
    zone = func.coalesce(SiteLabel.value, DEFAULT)
    rows = session.exec(
        select(zone, func.count(), func.min(Operation.id))
        .select_from(Operation)
        .outerjoin(SiteLabel, (col(SiteLabel.site_id) == col(Operation.site_id)) & (col(SiteLabel.key) == LABEL))
        .where(*ready)
        .group_by(zone)
    ).all()
    return [_waiting(session, "zone", name, sites, first) for name, sites, first in rows if name not in served]


def _later(session: Session) -> list[Waiting]:
    """What waits for contact or for its next try, counted by site; the index of what comes later knows it all."""
    rows = session.exec(
        select(Operation.waiting_for, func.count(), func.min(Operation.not_before))
        .where(LATER)
        .group_by(col(Operation.waiting_for))
    ).all()
    found = []
    for reason, sites, next_at in rows:
        here = LATER, col(Operation.waiting_for) == reason
        asked = session.exec(select(func.min(Operation.created_at)).where(*here)).one()
        found.append(Waiting(reason, "", sites, asked, next_at))
    return found


def _paused(session: Session) -> list[Waiting]:
    sites, asked = session.exec(
        select(func.count(), func.min(Operation.created_at))
        .select_from(Operation)
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(HEAD, QUEUED, col(Site.paused_at).is_not(None))
    ).one()
    return [Waiting(WaitingFor.RESUME.value, "", sites, asked, None)] if sites else []


_FAILED = (OperationState.FAILED.value, OperationState.EXPIRED.value)


def _rate(session: Session, span_s: int, now: datetime) -> Rate:
    # Grouped by an expression: by the column itself SQLite would read the index of states from end to end.
    state = func.coalesce(Operation.state, "")
    ended = select(state, func.count()).where(col(Operation.finished_at) > now - timedelta(seconds=span_s))
    counts = Counter(dict(session.exec(ended.group_by(state)).all()))
    return Rate(
        span_s,
        succeeded=counts[OperationState.SUCCEEDED.value],
        failed=sum(counts[state] for state in _FAILED),
        canceled=counts[OperationState.CANCELED.value],
    )


def _uses(room: Room) -> list[LimitUse]:
    return [
        LimitUse(bucket, room.limit_of(bucket), room.used(bucket), room.most(bucket) or 0) for bucket in room.limited
    ]


@dataclass(frozen=True)
class LimitRow:
    """A limit as lists show it."""

    scope: str
    most: int
    running: int  #: within it now; of a label with every value by itself: at the busiest


def limit_rows(session: Session, *, max_running: int) -> list[LimitRow]:
    """Every limit in force, that of the whole appliance first."""
    room = limits.room(session, max_running=max_running)
    most = {ALL: max_running} | {limit.scope: limit.most for limit in limits.every(session)}
    busiest: Counter[str] = Counter()
    for bucket in room.limited:
        scope = room.limit_of(bucket)
        busiest[scope] = max(busiest[scope], room.used(bucket))
    return [LimitRow(scope, number, busiest[scope]) for scope, number in most.items()]
