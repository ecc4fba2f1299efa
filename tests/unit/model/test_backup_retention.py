"""Which backups of a site may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import UsageError
from edgemgr.model.backup_retention import Aged, Retention, removable

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)

RULES = st.tuples(st.integers(1, 8), st.integers(0, 8), st.none() | st.integers(1, 60)).map(
    lambda told: Retention(told[0], told[0] + told[1], None if told[2] is None else told[2] * DAY)
)
BACKUPS = st.dictionaries(st.integers(1, 10_000), st.tuples(st.integers(0, 100), st.booleans()), max_size=25).map(
    lambda told: [Aged(attempt, NOW - days * DAY, held) for attempt, (days, held) in told.items()]
)


def _daily(count: int) -> list[Aged]:
    return [Aged(1000 - days, NOW - days * DAY) for days in range(count)]


def test_beyond_the_count_the_oldest_go_and_above_the_age_all_but_the_least() -> None:
    assert removable(_daily(12), Retention(2, 10, None), NOW) == [989, 990]
    assert removable(_daily(12), Retention(2, 10, 4 * DAY), NOW) == list(range(989, 996))
    year = [Aged(each.attempt, each.pulled_at - 365 * DAY) for each in _daily(12)]
    assert removable(year, Retention(2, 10, 4 * DAY), NOW) == list(range(989, 999))


def test_what_is_held_stays_and_takes_no_other_s_place() -> None:
    backups = [*_daily(5), Aged(1, NOW - 900 * DAY, is_held=True)]
    assert removable(backups, Retention(3, 5, 10 * DAY), NOW) == []
    assert removable(backups, Retention(3, 4, 10 * DAY), NOW) == [996]


def test_the_order_is_that_of_attempts_whatever_clocks_said() -> None:
    backups = [Aged(1, NOW), Aged(2, NOW - DAY), Aged(3, NOW - 2 * DAY)]
    assert removable(backups, Retention(1, 1, None), NOW) == [1, 2]


@pytest.mark.parametrize("told", [(0, 1, None), (3, 2, None), (1, 1, timedelta())])
def test_a_rule_that_would_leave_nothing_is_refused(told: tuple[int, int, timedelta | None]) -> None:
    with pytest.raises(UsageError) as caught:
        Retention(*told)
    assert caught.value.code == "E-BACKUP-RETENTION"


@given(BACKUPS, RULES)
def test_the_newest_stay_and_no_more_than_allowed_and_again_nothing_goes(backups: list[Aged], rule: Retention) -> None:
    gone = removable(backups, rule, NOW)
    left = [each for each in backups if each.attempt not in gone]
    free = sorted((each.attempt for each in backups if not each.is_held), reverse=True)
    assert gone == sorted(set(gone))
    assert set(gone) <= set(free)
    assert not set(free[: rule.at_least]) & set(gone)
    assert len([each for each in left if not each.is_held]) <= rule.at_most
    assert removable(left, rule, NOW) == []


@given(BACKUPS, RULES, st.integers(0, 100))
def test_what_goes_today_goes_tomorrow_too(backups: list[Aged], rule: Retention, days: int) -> None:
    assert set(removable(backups, rule, NOW)) <= set(removable(backups, rule, NOW + days * DAY))


@given(BACKUPS, RULES, st.integers(10_001, 10_010))
def test_a_new_backup_brings_back_no_old_one(backups: list[Aged], rule: Retention, attempt: int) -> None:
    assert set(removable(backups, rule, NOW)) <= set(removable([*backups, Aged(attempt, NOW)], rule, NOW))
