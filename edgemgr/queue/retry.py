"""What becomes of an operation after an attempt: a pure table of outcomes.

Unreachable costs the deadline only, never the attempts. What a repeat cannot help is not repeated. Nothing is ended
here because its deadline has passed: the clock may be wrong, and queue/reaper.py looks for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome, RetryDecision
from edgemgr.model.operation import OperationState, WaitingFor

#: First pause and longest pause, seconds. The ceiling doubles each time, and the pause is drawn evenly from all below
#: it (full jitter: Amazon Builders' Library, "Timeouts, retries, and backoff with jitter"), so that a thousand sites
#: that vanished together do not come back together. Waiting for contact is long because the watch ends it as soon as
#: the site answers: this is for the day on which the watch is wrong, and ten thousand dark sites must cost nothing.
CONTACT_PAUSE_S = (6 * 3600.0, 24 * 3600.0)
FAILURE_PAUSE_S = (15.0, 900.0)
AT_ONCE_S = (0.0, 0.0)


class Cost(StrEnum):
    """What a repeat costs the operation, beside time."""

    NOTHING = "nothing"
    ATTEMPT = "attempt"  #: one of max_attempts
    LOSS = "loss"  #: one of max_lost


@dataclass(frozen=True)
class Row:
    """What follows an outcome. With QUEUED: as long as the operation can pay `cost`."""

    then: OperationState
    cost: Cost = Cost.NOTHING
    waiting_for: WaitingFor = WaitingFor.TURN
    pause_s: tuple[float, float] = AT_ONCE_S


TABLE: Mapping[Outcome, Row] = {
    Outcome.SUCCEEDED: Row(OperationState.SUCCEEDED),
    Outcome.CANCELED: Row(OperationState.CANCELED),
    Outcome.REFUSED: Row(OperationState.FAILED),
    Outcome.UNREACHABLE: Row(OperationState.QUEUED, Cost.NOTHING, WaitingFor.CONTACT, CONTACT_PAUSE_S),
    Outcome.FAILED: Row(OperationState.QUEUED, Cost.ATTEMPT, WaitingFor.BACKOFF, FAILURE_PAUSE_S),
    Outcome.TIMED_OUT: Row(OperationState.QUEUED, Cost.ATTEMPT, WaitingFor.BACKOFF, FAILURE_PAUSE_S),
    Outcome.LOST: Row(OperationState.QUEUED, Cost.LOSS, WaitingFor.TURN, AT_ONCE_S),
}


@dataclass(frozen=True)
class Spent:
    """What an operation has used up before this attempt is counted."""

    attempts: int
    max_attempts: int
    lost: int
    max_lost: int
    unreached: int
    cancel_requested: bool = False


def decide(result: AttemptResult, spent: Spent, now: datetime, draw: Callable[[float, float], float]) -> RetryDecision:
    """Read the table; `draw(low, high)` gives a uniform random number (random.uniform outside tests)."""
    row = TABLE[result.outcome]
    if spent.cancel_requested and result.outcome is not Outcome.SUCCEEDED:
        return RetryDecision(OperationState.CANCELED)
    if row.then is not OperationState.QUEUED:
        return RetryDecision(row.then)
    if result.retry is Retry.NEVER:
        return RetryDecision(OperationState.FAILED, costs_attempt=True)
    cost = Cost.NOTHING if result.retry is Retry.FREE else row.cost
    costs_attempt, costs_loss = cost is Cost.ATTEMPT, cost is Cost.LOSS
    is_last = (costs_attempt and spent.attempts + 1 >= spent.max_attempts) or (
        costs_loss and spent.lost + 1 > spent.max_lost
    )
    if is_last:
        return RetryDecision(OperationState.FAILED, costs_attempt=costs_attempt, costs_loss=costs_loss)
    reached = result.outcome is not Outcome.UNREACHABLE or result.advanced
    if result.resume_at is not None:
        return RetryDecision(OperationState.QUEUED, not_before=result.resume_at, waiting_for=result.resume_for)
    return RetryDecision(
        OperationState.QUEUED,
        not_before=now + _pause(row.pause_s, spent.attempts if reached else spent.unreached, draw),
        waiting_for=row.waiting_for,
        costs_attempt=costs_attempt,
        costs_loss=costs_loss,
        reached=reached,
    )


def _pause(bounds: tuple[float, float], times: int, draw: Callable[[float, float], float]) -> timedelta:
    first, longest = bounds
    return timedelta(seconds=draw(0.0, min(longest, first * 2.0 ** min(times, 20))))
