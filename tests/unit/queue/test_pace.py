"""How often sites are tried, and how soon they are served: the rules by themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemgr.queue.agenda import Agenda
from edgemgr.queue.pace import HOLD_MAX_S, WRONG_ANSWER_PAUSE_S, hold_s, pause_s
from edgemgr.settings import Settings

SETTINGS = Settings(probe_interval_s=3, probe_interval_max_s=300, probe_rate=125)
DAY_S = 86_400.0


def test_a_site_that_went_away_just_now_is_tried_every_few_seconds_however_many_others_are_dark() -> None:
    assert pause_s(10, 10_000, 0, SETTINGS) == 3


def test_the_longer_a_site_is_away_the_more_rarely_it_is_tried_up_to_the_bound() -> None:
    assert pause_s(1_000, 100_000, 0, SETTINGS) == 10
    assert pause_s(7 * DAY_S, 100_000, 0, SETTINGS) == 300


def test_few_dark_sites_are_all_tried_often_however_long_they_are_away() -> None:
    assert pause_s(7 * DAY_S, 1_000, 0, SETTINGS) == 8
    assert pause_s(7 * DAY_S, 10_000, 0, SETTINGS) == 80
    assert pause_s(7 * DAY_S, 1, 0, SETTINGS) == 3


def test_a_host_that_answers_wrongly_is_tried_ever_more_rarely_up_to_a_minute() -> None:
    assert [pause_s(0, 1, wrong, SETTINGS) for wrong in (1, 2, 3, 10, 99)] == [6, 12, 24, 60, 60]


@given(away_s=st.floats(0, 1e9), owing=st.integers(1, 100_000), wrong=st.integers(0, 10_000))
def test_no_pause_is_shorter_or_longer_than_the_settings_say(away_s: float, owing: int, wrong: int) -> None:
    found = pause_s(away_s, owing, wrong, SETTINGS)
    assert SETTINGS.probe_interval_s <= found <= max(SETTINGS.probe_interval_max_s, WRONG_ANSWER_PAUSE_S)


@given(owing=st.integers(375, 36_000))
def test_sites_that_have_long_been_dark_are_tried_at_the_rate_of_the_settings_together(owing: int) -> None:
    assert abs(owing / pause_s(365 * DAY_S, owing, 0, SETTINGS) - SETTINGS.probe_rate) < 1


def test_the_pause_before_a_host_that_fails_attempts_is_tried_again_grows_to_minutes_and_no_further() -> None:
    assert [hold_s(n, "E-SITE-FORWARD") for n in (1, 2, 5, 8, 20, 10_000)] == [2, 4, 32, 256, HOLD_MAX_S, HOLD_MAX_S]


def test_a_site_whose_last_attempt_met_silence_is_held_back_for_seconds_only() -> None:
    assert [hold_s(n, "E-SITE-NO-ANSWER") for n in (1, 3, 10_000)] == [2, 8, 10]


def test_a_site_under_way_is_not_taken_again_before_it_is_put_back() -> None:
    agenda = Agenda()
    agenda.replace([1, 2], now=0)
    assert agenda.take(0, most=10) == [1, 2]
    agenda.replace([1, 2, 3], now=1)
    assert agenda.take(1, most=10) == [3]
    agenda.put_back(1, 5)
    assert agenda.take(4.9, most=10) == []
    assert agenda.take(5, most=10) == [1]


def test_the_longest_overdue_go_first_and_the_rest_wait() -> None:
    agenda = Agenda()
    for number, site_id in enumerate([7, 3, 9]):
        agenda.replace([7, 3, 9][: number + 1], now=number)
        assert agenda.of(site_id) is not None
    assert agenda.take(10, most=2) == [7, 3]
    assert agenda.take(10, most=2) == [9]


def test_a_site_that_owes_nothing_any_more_is_forgotten_with_all_that_was_known_of_it() -> None:
    agenda = Agenda()
    agenda.replace([1], now=0)
    due = agenda.of(1)
    assert due is not None
    due.note_missed(is_silent=True, is_wrong=False)
    agenda.replace([], now=1)
    agenda.put_back(1, 2)
    agenda.replace([1], now=3)
    fresh = agenda.of(1)
    assert fresh is not None
    assert not fresh.was_silent
    assert agenda.take(3, most=1) == [1]
