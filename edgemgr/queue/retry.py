"""What becomes of an operation after an attempt: a pure table of outcomes.

Unreachable costs the deadline only, never the attempts. What a repeat cannot help is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome, RetryDecision
from edgemgr.model.operation import OperationState, WaitingFor

#: First pause and longest pause, seconds; the pause between doubles each time and is drawn from its
#: upper half, so that a thousand sites that vanished together do not come back together. Waiting for contact is
#: long because the watch ends it as soon as the site answers.
CONTACT_PAUSE_S = (60.0, 600.0)
FAILURE_PAUSE_S = (15.0, 900.0)


@dataclass(frozen=True)
class Spent:
    """What an operation has used up before this attempt is counted."""

    attempts: int
    max_attempts: int
    lost: int
    max_lost: int
    unreached: int
    deadline_at: datetime
    cancel_requested: bool = False


def decide(  # noqa: PLR0911 - a table: one return for each row
    result: AttemptResult, spent: Spent, now: datetime, draw: Callable[[float, float], float]
) -> RetryDecision:
    """Read the table; `draw(low, high)` gives a uniform random number (random.uniform outside tests)."""
    outcome = result.outcome
    if outcome is Outcome.SUCCEEDED:
        return RetryDecision(OperationState.SUCCEEDED)
    if outcome is Outcome.CANCELED or spent.cancel_requested:
        return RetryDecision(OperationState.CANCELED)
    if outcome is Outcome.REFUSED or result.retry is Retry.NEVER:
        return RetryDecision(OperationState.FAILED, costs_attempt=outcome is not Outcome.REFUSED)
    if outcome is Outcome.UNREACHABLE:
        pause = _pause(CONTACT_PAUSE_S, spent.unreached, draw)
        return _again(now + pause, WaitingFor.CONTACT, spent, reached=False)
    if outcome is Outcome.LOST:
        if spent.lost + 1 > spent.max_lost:
            return RetryDecision(OperationState.FAILED, costs_loss=True)
        return _again(now, WaitingFor.TURN, spent, costs_loss=True)
    if spent.attempts + 1 >= spent.max_attempts:
        return RetryDecision(OperationState.FAILED, costs_attempt=True)
    pause = _pause(FAILURE_PAUSE_S, spent.attempts, draw)
    return _again(now + pause, WaitingFor.BACKOFF, spent, costs_attempt=True)


def _again(
    not_before: datetime,
    waiting_for: WaitingFor,
    spent: Spent,
    *,
    costs_attempt: bool = False,
    costs_loss: bool = False,
    reached: bool = True,
) -> RetryDecision:
    """Queue it again, or end it if its deadline comes first."""
    if not_before >= spent.deadline_at and waiting_for is not WaitingFor.CONTACT:
        return RetryDecision(OperationState.EXPIRED, costs_attempt=costs_attempt, costs_loss=costs_loss)
    return RetryDecision(
        OperationState.QUEUED,
        not_before=not_before,
        waiting_for=waiting_for,
        costs_attempt=costs_attempt,
        costs_loss=costs_loss,
        reached=reached,
    )


def _pause(bounds: tuple[float, float], times: int, draw: Callable[[float, float], float]) -> timedelta:
    first, longest = bounds
    ceiling = min(longest, first * 2 ** min(times, 20))
    return timedelta(seconds=draw(first / 2, ceiling) if ceiling > first / 2 else ceiling)
