from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests_support.hand_clock import NOON, Hands

from edgemgr.queue.clock import CALM_S, JUMP_S

HOUR = timedelta(hours=1)
SLACK = timedelta(milliseconds=1)


def test_between_two_readings_the_time_of_day_goes_on_by_the_steady_clock() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.run(5)
    hands.set_wall(HOUR)
    assert clock.now() == NOON + timedelta(seconds=5)


def test_a_jump_is_told_once_with_its_size() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.read()
    hands.run(2)
    hands.set_wall(-HOUR)
    assert clock.read() == -HOUR
    hands.run(2)
    assert clock.read() is None
    assert (clock.jumps, clock.now()) == (1, hands.wall)


def test_what_ntp_corrects_is_no_jump() -> None:
    hands = Hands()
    clock = hands.clock()
    for _ in range(100):
        hands.run(2)
        hands.set_wall(timedelta(seconds=JUMP_S - 1))
        assert clock.read() is None
    assert clock.now() == hands.wall


def test_a_server_with_another_time_of_day_is_no_jump_but_a_server_that_jumps_is() -> None:
    hands = Hands()
    clock = hands.clock()
    assert clock.read(NOON + 5 * HOUR) is None
    assert clock.now() == NOON + 5 * HOUR
    assert clock.read(NOON) == -5 * HOUR


def test_nothing_has_passed_for_certain_until_the_clock_was_calm_for_ten_minutes() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.read()
    hands.run(CALM_S - 1)
    assert clock.passed_for_certain() is None
    hands.run(1)
    assert clock.passed_for_certain() == NOON
    hands.set_wall(24 * HOUR)
    clock.read()
    assert clock.passed_for_certain() is None


def test_a_clock_that_was_set_before_it_was_read_for_the_first_time_is_not_believed_either() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.set_wall(24 * HOUR)
    hands.run(CALM_S + 1)
    clock.read()
    assert clock.passed_for_certain() is None


@given(st.lists(st.tuples(st.floats(1, 900), st.sampled_from([0, 0, 0, -90000, 90000])), max_size=30))
def test_no_deadline_is_believed_that_was_not_passed_for_ten_calm_minutes(
    steps: list[tuple[float, int]],
) -> None:
    hands = Hands()
    clock = hands.clock()
    clock.read()
    readings = [(hands.steady_s, clock.now())]
    for passed, jump in steps:
        hands.run(passed)
        hands.set_wall(timedelta(seconds=jump))
        clock.read()
        readings.append((hands.steady_s, clock.now()))
        certain = clock.passed_for_certain()
        if certain is not None:
            recent = [moment for at, moment in readings if at > hands.steady_s - CALM_S]
            assert all(moment >= certain - SLACK for moment in recent)
