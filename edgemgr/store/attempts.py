"""Writes of Attempt after the claim: renewing the lease, settling, taking back what silent workers held.

Every write is conditional on still holding the lease: a worker that was given up for dead changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from edgemgr.errors import LeaseLostError
from edgemgr.model.attempt import Attempt, AttemptResult, Outcome, RetryDecision
from edgemgr.model.event import Reason
from edgemgr.model.operation import Operation, OperationState, WaitingFor
from edgemgr.model.site import Site
from edgemgr.store import events, operations
from edgemgr.store.open_operations import QUEUED


def renew(
    session: Session, attempt_ids: Sequence[int], *, worker_id: str, lease_s: float, now: datetime
) -> dict[int, bool]:
    """Keep these attempts; returns those that are still this worker's: id → whether it is asked to stop."""
    held = session.exec(
        select(Attempt.id, Operation.cancel_requested)
        .join(Operation, col(Operation.id) == col(Attempt.operation_id))
        .where(col(Attempt.id).in_(attempt_ids), col(Attempt.worker_id) == worker_id, col(Attempt.outcome).is_(None))
    ).all()
    session.execute(
        update(Attempt)
        .where(col(Attempt.id).in_(attempt_ids), col(Attempt.worker_id) == worker_id, col(Attempt.outcome).is_(None))
        .values(lease_until=now + timedelta(seconds=lease_s))
    )
    return {attempt_id: cancel for attempt_id, cancel in held if attempt_id is not None}


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
    else:
        operation.state = decision.state.value
        operation.waiting_for = ""
        operation.finished_at = now
        operation.is_head = False
    _tell(session, operation, result, decision)
    session.flush()
    operations.name_heads(session, [operation.site_id])


def overdue(session: Session, *, now: datetime, dead_workers: Sequence[str], limit: int = 500) -> list[tuple[int, str]]:
    """Attempts whose lease ran out or whose worker is known to be dead: (attempt id, worker id)."""
    found = session.exec(
        select(Attempt.id, Attempt.worker_id)
        .where(
            col(Attempt.outcome).is_(None),
            (col(Attempt.lease_until) < now) | col(Attempt.worker_id).in_(list(dead_workers)),
        )
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
    events.record(
        session,
        reason,
        f"{operation.kind}, attempt {operation.attempts}: {result.message or result.outcome.value}",
        actor="queue",
        site_id=operation.site_id,
        site_name=site_name,
        operation_id=operation.id,
        warning=decision.state is not OperationState.SUCCEEDED,
    )
