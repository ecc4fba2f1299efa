"""Writes of Attempt after the claim: settling, and taking back what silent workers held.

Every write is conditional on still holding the lease: a worker that was given up for dead changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import literal, or_
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

#: What a worker holds, found by worker: left to itself, SQLite walks every transfer that waits anywhere.
_HELD = (Attempt, "INDEXED BY attempt_held", "sqlite")


def held(session: Session, worker_id: str) -> dict[int, bool]:
    """What a worker holds: attempt → whether it is asked to stop."""
    found = session.exec(
        select(Attempt.id, Operation.cancel_requested)
        .join(Operation, col(Operation.id) == col(Attempt.operation_id))
        .where(col(Attempt.worker_id) == worker_id, col(Attempt.outcome).is_(None))
    ).all()
    return {attempt_id: cancel for attempt_id, cancel in found if attempt_id is not None}


def outranked(session: Session, worker_id: str, *, now: datetime) -> frozenset[int]:
    """The transfers of a worker whose site could begin something of a higher priority now, if it were not for them."""
    other = aliased(Operation)
    ready = or_(
        col(other.waiting_for) == WaitingFor.TURN.value,
        col(other.waiting_for).in_([WaitingFor.CONTACT.value, WaitingFor.BACKOFF.value])
        & (col(other.not_before) <= now),
    )
    found = session.exec(
        select(Attempt.id)
        .join(Operation, col(Operation.id) == col(Attempt.operation_id))
        .where(
            col(Attempt.worker_id) == worker_id,
            col(Attempt.outcome).is_(None),
            col(Operation.kind).in_(TRANSFER_KINDS),
            select(other.id)
            .where(
                col(other.site_id) == col(Operation.site_id),
                col(other.state) == literal(OperationState.QUEUED.value, literal_execute=True),
                col(other.priority) > col(Operation.priority),
                ready,
            )
            .with_hint(other, *QUEUED_BY_SITE[1:])
            .exists(),
        )
        .with_hint(*_HELD)
    ).all()
    return frozenset(attempt_id for attempt_id in found if attempt_id is not None)


def unsettled(session: Session, attempt_id: int, *, worker_id: str) -> Operation:
    """The operation behind an attempt that this worker still holds, its site locked for the rest of the transaction.

    Raises:
        LeaseLostError: the attempt is settled or somebody else's.
    """
    operation = session.exec(
        select(Operation).join(Attempt, col(Attempt.operation_id) == col(Operation.id)).where(Attempt.id == attempt_id)
    ).one_or_none()
    if operation is not None:
        session.execute(select(Site.id).where(Site.id == operation.site_id).with_for_update())
        held = session.exec(
            select(Attempt)
            .where(Attempt.id == attempt_id, Attempt.worker_id == worker_id, col(Attempt.outcome).is_(None))
            .with_for_update()
        ).one_or_none()
        if held is not None:
            session.refresh(operation)
            return operation
    raise LeaseLostError(f"attempt {attempt_id} is no longer held by {worker_id}; its result is dropped")


def settle(
    session: Session,
    attempt_id: int,
    operation: Operation,
    *,
    result: AttemptResult,
    decision: RetryDecision,
    now: datetime,
) -> None:
    """Write how an attempt ended and what becomes of its operation. `operation` comes from `unsettled`."""
    attempt = session.get_one(Attempt, attempt_id)
    attempt.finished_at = now
    attempt.outcome = result.outcome.value
    attempt.changed = result.changed
    attempt.code, attempt.message, attempt.hint = result.code, result.message, result.hint

    operation.code, operation.message, operation.hint = result.code, result.message, result.hint
    operation.spent += decision.costs_attempt
    operation.lost += decision.costs_loss
    operation.unreached = 0 if decision.reached else operation.unreached + 1
    newer = session.exec(
        select(Operation.id).where(
            col(Operation.site_id) == operation.site_id,
            col(Operation.kind) == operation.kind,
            QUEUED,
        )
    ).first()
    if decision.state is OperationState.QUEUED and newer is not None:
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
    _tell(session, operation, result, decision)
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


def _tell(session: Session, operation: Operation, result: AttemptResult, decision: RetryDecision) -> None:
    if decision.state is not OperationState.QUEUED:
        reason = _REASONS[decision.state]
    elif result.outcome is Outcome.UNREACHABLE:
        reason = Reason.ATTEMPT_UNREACHABLE
    elif result.outcome is Outcome.LOST:
        reason = Reason.ATTEMPT_LOST
    else:
        reason = Reason.ATTEMPT_FAILED
    site_name = session.exec(select(Site.name).where(Site.id == operation.site_id)).one()
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
