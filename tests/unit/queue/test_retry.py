from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OperationState, WaitingFor
from edgemgr.queue.retry import CONTACT_PAUSE_S, FAILURE_PAUSE_S, TABLE, Spent, decide

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def highest(_low: float, high: float) -> float:
    return high


def spent(**changes: object) -> Spent:
    values: dict[str, object] = {
        "attempts": 0,
        "max_attempts": 3,
        "lost": 0,
        "max_lost": 3,
        "unreached": 0,
    }
    return Spent(**{**values, **changes})  # type: ignore[arg-type]


def test_a_site_that_was_not_reached_costs_no_attempt_and_waits_for_contact() -> None:
    decision = decide(AttemptResult(Outcome.UNREACHABLE), spent(attempts=2), NOW, highest)
    assert decision.state is OperationState.QUEUED
    assert decision.waiting_for is WaitingFor.CONTACT
    assert not decision.costs_attempt
    assert not decision.reached


def test_a_site_that_was_cut_off_while_the_work_went_on_is_not_taken_for_one_that_fails_every_attempt() -> None:
    decision = decide(AttemptResult(Outcome.UNREACHABLE, advanced=True), spent(unreached=5), NOW, highest)
    assert decision.waiting_for is WaitingFor.CONTACT
    assert decision.reached


def test_a_failure_is_repeated_after_a_pause_until_the_attempts_are_spent() -> None:
    first = decide(AttemptResult(Outcome.FAILED), spent(), NOW, highest)
    assert (first.state, first.waiting_for, first.costs_attempt) == (OperationState.QUEUED, WaitingFor.BACKOFF, True)
    assert first.not_before == NOW + timedelta(seconds=FAILURE_PAUSE_S[0])
    assert decide(AttemptResult(Outcome.FAILED), spent(attempts=2), NOW, highest).state is OperationState.FAILED


def test_what_a_repeat_cannot_help_fails_at_once() -> None:
    assert decide(AttemptResult(Outcome.REFUSED), spent(), NOW, highest).state is OperationState.FAILED
    changed_key = AttemptResult(Outcome.FAILED, retry=Retry.NEVER)
    assert decide(changed_key, spent(), NOW, highest).state is OperationState.FAILED


def test_a_lost_attempt_runs_again_at_once_but_not_for_ever() -> None:
    again = decide(AttemptResult(Outcome.LOST), spent(), NOW, highest)
    assert (again.state, again.not_before, again.costs_loss) == (OperationState.QUEUED, NOW, True)
    assert decide(AttemptResult(Outcome.LOST), spent(lost=3), NOW, highest).state is OperationState.FAILED


def test_a_failed_attempt_of_a_canceled_operation_is_not_repeated() -> None:
    decision = decide(AttemptResult(Outcome.FAILED), spent(cancel_requested=True), NOW, highest)
    assert decision.state is OperationState.CANCELED


def test_success_counts_even_if_somebody_asked_to_cancel_in_the_meantime() -> None:
    decision = decide(AttemptResult(Outcome.SUCCEEDED), spent(cancel_requested=True), NOW, highest)
    assert decision.state is OperationState.SUCCEEDED


def test_what_was_the_appliances_own_fault_costs_the_operation_nothing_but_time() -> None:
    stopped = decide(AttemptResult(Outcome.LOST, retry=Retry.FREE), spent(lost=3), NOW, highest)
    assert (stopped.state, stopped.not_before, stopped.costs_loss) == (OperationState.QUEUED, NOW, False)
    no_room = decide(AttemptResult(Outcome.FAILED, retry=Retry.FREE), spent(attempts=2), NOW, highest)
    assert (no_room.state, no_room.waiting_for) == (OperationState.QUEUED, WaitingFor.BACKOFF)
    assert not no_room.costs_attempt


@given(unreached=st.integers(0, 10_000), part=st.floats(0, 1))
def test_the_pause_before_the_next_try_is_drawn_from_all_below_a_ceiling_that_doubles_up_to_its_cap(
    unreached: int, part: float
) -> None:
    decision = decide(
        AttemptResult(Outcome.UNREACHABLE), spent(unreached=unreached), NOW, lambda low, high: low + part * (high - low)
    )
    assert decision.not_before is not None
    pause = (decision.not_before - NOW).total_seconds()
    ceiling = min(CONTACT_PAUSE_S[1], CONTACT_PAUSE_S[0] * 2.0 ** min(unreached, 20))
    assert pause == pytest.approx(part * ceiling, abs=1e-5)


@pytest.mark.parametrize("outcome", list(Outcome))
@given(attempts=st.integers(0, 5), lost=st.integers(0, 5))
def test_every_outcome_ends_an_operation_or_says_when_it_runs_again(outcome: Outcome, attempts: int, lost: int) -> None:
    decision = decide(AttemptResult(outcome), spent(attempts=attempts, lost=lost), NOW, highest)
    assert (decision.state is OperationState.QUEUED) == (decision.not_before is not None)


def test_the_table_has_a_row_for_every_outcome() -> None:
    assert set(TABLE) == set(Outcome)


@pytest.mark.parametrize("outcome", [row for row in Outcome if TABLE[row].then is not OperationState.QUEUED])
def test_an_outcome_that_ends_an_operation_costs_it_nothing(outcome: Outcome) -> None:
    decision = decide(AttemptResult(outcome), spent(), NOW, highest)
    assert decision.state is TABLE[outcome].then
    assert not decision.costs_attempt
    assert not decision.costs_loss


def test_what_only_waits_for_its_window_costs_nothing_and_goes_on_when_it_opens() -> None:
    opens_at = NOW + timedelta(hours=9)
    waits = AttemptResult(Outcome.LOST, retry=Retry.FREE, resume_at=opens_at)
    decision = decide(waits, spent(attempts=2, lost=3), NOW, highest)
    assert (decision.state, decision.waiting_for, decision.not_before) == (
        OperationState.QUEUED,
        WaitingFor.WINDOW,
        opens_at,
    )
    assert not decision.costs_attempt
    assert not decision.costs_loss
    assert decide(waits, spent(cancel_requested=True), NOW, highest).state is OperationState.CANCELED


def test_what_a_node_carries_out_by_itself_is_asked_for_again_and_costs_nothing() -> None:
    asked_at = NOW + timedelta(seconds=20)
    goes_on = AttemptResult(Outcome.LOST, retry=Retry.FREE, resume_at=asked_at, resume_for=WaitingFor.BACKOFF)
    decision = decide(goes_on, spent(attempts=2, lost=3), NOW, highest)
    assert (decision.state, decision.waiting_for, decision.not_before) == (
        OperationState.QUEUED,
        WaitingFor.BACKOFF,
        asked_at,
    )
    assert not decision.costs_attempt
    assert not decision.costs_loss
