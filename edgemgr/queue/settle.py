"""Settling: the evidence of an attempt ends it, advances its operation and updates what we know of the site.

What follows from its success is asked for at the same time.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import ENDED_STATES, Operation, OperationState
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.registry import spec_of
from edgemgr.operations.submit import submit
from edgemgr.queue.retry import Spent, decide
from edgemgr.status.apply import apply_observation, note_contact
from edgemgr.store import attempts
from edgemgr.store.database import Database, Session

#: Outcomes that prove that the site answered.
_ANSWERED = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REFUSED})
#: Refusals of our own, before anything was sent.
_NEVER_TRIED = frozenset({"E-TRUST-UNKNOWN", "E-TRUST-SEEN", "E-TRUST-PASSWORD", "E-JUMP-UNPINNED", "E-LOGIN-NONE"})


def settle_attempt(
    database: Database, attempt_id: int, result: AttemptResult, *, worker_id: str, now: datetime | None = None
) -> None:
    """End an attempt in one transaction.

    Raises:
        LeaseLostError: the attempt is not this worker's any more; nothing was written.
    """
    now = now or utc_now()
    with database.write() as session:
        ending = attempts.unsettled(session, attempt_id, worker_id=worker_id)
        decision = decide(result, _spent(ending.operation), now, random.uniform)
        if decision.state in ENDED_STATES and decision.state is not OperationState.SUCCEEDED:
            result = _with_loss(result, ending.operation)
        attempts.settle(session, ending, result=result, decision=decision, now=now)
        site_id, name = ending.operation.site_id, ending.site.name
        if result.outcome in _ANSWERED and result.code not in _NEVER_TRIED:
            note_contact(session, site_id, name, reachable=True, detail="", now=now)
        elif result.outcome is Outcome.UNREACHABLE:
            note_contact(session, site_id, name, reachable=False, detail=result.message, now=now)
        if result.observation is not None:
            apply_observation(session, site_id, name, result.observation)
        if decision.state is OperationState.SUCCEEDED:
            # In the same transaction: a crash loses neither the one nor the other.
            _ask_for_next(session, ending.operation, now)


def _with_loss(result: AttemptResult, operation: Operation) -> AttemptResult:
    """With what else is lost, where more was to follow."""
    spec = spec_of(operation.kind)
    loss = spec.loss(spec.params.model_validate(operation.params)) if spec.is_step else ""
    return replace(result, message=f"{result.message or result.outcome.value}; {loss}") if loss else result


def _ask_for_next(session: Session, operation: Operation, now: datetime) -> None:
    spec = spec_of(operation.kind)
    after = spec.follow_up(spec.params.model_validate(operation.params)) if spec.is_step else None
    if after is not None:
        left_s = max(1.0, (operation.deadline_at - now).total_seconds())  # one that is past is told as expired
        submit(
            session,
            after.kind,
            after.params,
            [operation.site_id],
            actor=operation.actor,
            request=operation.request,
            deadline_s=left_s if after.keeps_deadline else None,
            now=now,
        )


def _spent(operation: Operation) -> Spent:
    return Spent(
        attempts=operation.spent,
        max_attempts=operation.max_attempts,
        lost=operation.lost,
        max_lost=operation.max_lost,
        unreached=operation.unreached,
        cancel_requested=operation.cancel_requested,
    )
