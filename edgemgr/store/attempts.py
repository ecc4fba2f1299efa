"""Writes of Attempt after the claim: settling, and taking back what silent workers held.

Every write is conditional on still holding the lease: a worker that was given up for dead changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, bindparam, func, literal, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from edgemgr.errors import LeaseLostError, Retry
from edgemgr.model.attempt import Attempt, AttemptResult, Outcome, RetryDecision
from edgemgr.model.event import Reason
from edgemgr.model.operation import TRANSFER_KINDS, Operation, OperationState, WaitingFor
from edgemgr.model.site import Site
from edgemgr.model.worker import Worker
from edgemgr.store import events, operations, pauses
from edgemgr.store.open_operations import QUEUED, QUEUED_BY_SITE


def held(session: Session, worker_id: str) -> dict[int, bool]:
    """What a worker holds: attempt → whether it is asked to stop."""
    found = session.execute(_HELD, {"worker_id": worker_id})
    return {attempt_id: cancel for attempt_id, cancel in found if attempt_id is not None}


def first_of(session: Session, operation_id: int) -> int:
    """The number of an operation's first attempt, which stays the same over all of its repeats."""
    return session.exec(select(func.min(Attempt.id)).where(Attempt.operation_id == operation_id)).one() or 0


def outranked(session: Session, worker_id: str, *, now: datetime) -> frozenset[int]:
    """The transfers of a worker whose site could begin something of a higher priority now, if it were not for them."""
    found = session.execute(_OUTRANKED, {"worker_id": worker_id, "now": now}).scalars()
    return frozenset(attempt_id for attempt_id in found if attempt_id is not None)


def _outranked() -> Select[int | None]:
    other = aliased(Operation)
    ready = or_(
        col(other.waiting_for) == WaitingFor.TURN.value,
        col(other.waiting_for).in_([WaitingFor.CONTACT.value, WaitingFor.BACKOFF.value])
        & (col(other.not_before) <= bindparam("now")),
    )
    higher = (
        select(other.id)
        .where(
            col(other.site_id) == col(Operation.site_id),
            col(other.state) == literal(OperationState.QUEUED.value, literal_execute=True),
            col(other.priority) > col(Operation.priority),
            ready,
        )
        .with_hint(other, *QUEUED_BY_SITE[1:])
    )
    return (
        select(Attempt.id)
        .join(Operation, col(Operation.id) == col(Attempt.operation_id))
        .where(*_HELD_BY, col(Operation.kind).in_(TRANSFER_KINDS), higher.exists())
        # Found by worker: left to itself, SQLite walks every transfer that waits anywhere.
        .with_hint(Attempt, "INDEXED BY attempt_held", "sqlite")
    )


_HELD_BY = (col(Attempt.worker_id) == bindparam("worker_id"), col(Attempt.outcome).is_(None))
# Built once: every heart asks both with every beat, and putting a statement together costs more than running it.
_HELD = (
    select(Attempt.id, Operation.cancel_requested)
    .join(Operation, col(Operation.id) == col(Attempt.operation_id))
    .where(*_HELD_BY)
)
_OUTRANKED = _outranked()


@dataclass(frozen=True)
class Unsettled:
    """An attempt that its worker still holds, and what it belongs to; the site is locked."""

    attempt: Attempt
    operation: Operation
    site: Site


def unsettled(session: Session, attempt_id: int, *, worker_id: str) -> Unsettled:
    """An attempt that this worker still holds, its site locked for the rest of the transaction.

    Raises:
        LeaseLostError: the attempt is settled or somebody else's.
    """
    # The site first, by itself: what is read after its lock is what the last who had it has left.
    site = session.exec(
        select(Site)
        .join(Operation, col(Operation.site_id) == col(Site.id))
        .join(Attempt, col(Attempt.operation_id) == col(Operation.id))
        .where(Attempt.id == attempt_id)
        .with_for_update(of=Site)
    ).one_or_none()
    if site is not None:
        found = session.exec(
            select(Attempt, Operation)
            .join(Operation, col(Operation.id) == col(Attempt.operation_id))
            .where(Attempt.id == attempt_id, Attempt.worker_id == worker_id, col(Attempt.outcome).is_(None))
            .with_for_update(of=Attempt)
        ).one_or_none()
        if found is not None:
            return Unsettled(*found, site)
    raise LeaseLostError(f"attempt {attempt_id} is no longer held by {worker_id}; its result is dropped")


def settle(
    session: Session, ending: Unsettled, *, result: AttemptResult, decision: RetryDecision, now: datetime
) -> None:
    """Write how an attempt ended and what becomes of its operation."""
    attempt, operation = ending.attempt, ending.operation
    attempt.finished_at = now
    attempt.outcome = result.outcome.value
    attempt.changed = result.changed
    attempt.code, attempt.message, attempt.hint = result.code, result.message, result.hint

    operation.code, operation.message, operation.hint = result.code, result.message, result.hint
    operation.spent += decision.costs_attempt
    operation.lost += decision.costs_loss
    operation.unreached = 0 if decision.reached else operation.unreached + 1
    waiting = session.exec(
        select(Operation.kind).where(col(Operation.site_id) == operation.site_id, QUEUED).with_hint(*QUEUED_BY_SITE)
    ).all()
    if decision.state is OperationState.QUEUED and operation.kind in waiting:
        operations.supersede(session, operation, actor="queue", now=now)
    elif decision.state is OperationState.QUEUED:
        operation.state = OperationState.QUEUED.value
        operation.not_before = decision.not_before or now
        operation.waiting_for = (decision.waiting_for or WaitingFor.TURN).value
        if pauses.is_paused(session, operation.site_id):
            operation.waiting_for = WaitingFor.RESUME.value
    else:
        operation.state = decision.state.value
        operation.waiting_for = ""
        operation.finished_at = now
        operation.is_head = False
    _tell(session, operation, ending.site.name, result, decision)
    if waiting:  # otherwise it is the only one, and stays where it is
        session.flush()
        operations.name_heads(session, [operation.site_id])


def abandoned(session: Session, *, limit: int = 500) -> list[tuple[int, str]]:
    """Unsettled attempts whose worker has ended or was given up: (attempt, worker)."""
    # In two steps, each of which reads the index of what is unsettled: in one, SQLite reads all that ever was.
    holders = session.exec(select(Attempt.worker_id).where(col(Attempt.outcome).is_(None)).distinct()).all()
    alive = select(Worker.id).where(col(Worker.id).in_(holders), col(Worker.stopped_at).is_(None))
    gone = set(holders) - set(session.exec(alive).all())
    if not gone:
        return []
    found = session.exec(
        select(Attempt.id, Attempt.worker_id)
        .where(col(Attempt.worker_id).in_(sorted(gone)), col(Attempt.outcome).is_(None))
        .limit(limit)
    ).all()
    return [(attempt_id, worker_id) for attempt_id, worker_id in found if attempt_id is not None]


_REASONS = {
    OperationState.SUCCEEDED: Reason.OPERATION_SUCCEEDED,
    OperationState.FAILED: Reason.OPERATION_FAILED,
    OperationState.CANCELED: Reason.OPERATION_CANCELED,
    OperationState.EXPIRED: Reason.OPERATION_EXPIRED,
}


def _tell(
    session: Session, operation: Operation, site_name: str, result: AttemptResult, decision: RetryDecision
) -> None:
    if decision.state is not OperationState.QUEUED:
        reason = _REASONS[decision.state]
    elif result.outcome is Outcome.UNREACHABLE:
        reason = Reason.ATTEMPT_UNREACHABLE
    elif result.outcome is Outcome.LOST:
        reason = Reason.ATTEMPT_LOST
    else:
        reason = Reason.ATTEMPT_FAILED
    # It was let go of for a reason of our own: for another operation, a window, or the end of its worker.
    is_planned = result.outcome is Outcome.LOST and result.retry is Retry.FREE
    events.record(
        session,
        reason,
        f"{operation.kind}, attempt {operation.attempts}: {result.message or result.outcome.value}",
        actor="queue",
        site_id=operation.site_id,
        site_name=site_name,
        operation_id=operation.id,
        warning=decision.state is not OperationState.SUCCEEDED and not is_planned,
    )
