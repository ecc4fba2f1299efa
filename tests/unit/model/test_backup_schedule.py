"""The rules of backup schedules: what they may say, and how old a backup may be by them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edgemgr.errors import InventoryError, UsageError
from edgemgr.model.backup_schedule import (
    LONGEST_S,
    SHORTEST_S,
    BackupSchedule,
    checked_hours,
    checked_interval,
    every_text,
    longest_gap_s,
)
from edgemgr.model.window import Window

HOUR = 3600
DAY = 24 * HOUR
WEEKEND = "sat,sun 01:00-05:00"
NIGHTS = "mon-fri 22:00-06:00; sat,sun 00:00-24:00"


@pytest.mark.parametrize("interval_s", [SHORTEST_S, 6 * HOUR, 1234.9, LONGEST_S])
def test_an_interval_that_can_be_kept_is_kept_in_whole_seconds(interval_s: float) -> None:
    assert checked_interval(interval_s) == int(interval_s)


@pytest.mark.parametrize(
    ("interval_s", "says"),
    [(0, "too short"), (SHORTEST_S - 1, "too short"), (LONGEST_S + 1, "too long"), (1e15, "too long")],
)
def test_an_interval_that_cannot_be_kept_is_refused(interval_s: float, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        checked_interval(interval_s)
    assert caught.value.code == "E-BACKUP-SCHEDULE-INTERVAL"
    assert "--off" in caught.value.hint


def test_hours_are_kept_as_they_were_written_but_for_gaps_and_capitals() -> None:
    assert checked_hours(" Sat,Sun  01:00-05:00 ;\tmon 22:00-06:00") == "sat,sun 01:00-05:00 ; mon 22:00-06:00"


@pytest.mark.parametrize("hours", ["", " ; ", "00:00-24:00", "00:00-12:00; 12:00-00:00"])
def test_hours_that_are_the_whole_week_are_none(hours: str) -> None:
    assert checked_hours(hours) is None


def test_hours_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(InventoryError) as caught:
        checked_hours("at night")
    assert caught.value.code == "E-WINDOW"


def test_hours_in_which_no_backup_would_have_its_turn_are_refused() -> None:
    assert checked_hours("sun 23:50-00:05") == "sun 23:50-00:05"
    with pytest.raises(UsageError) as caught:
        checked_hours("sun 23:50-00:04; mon 12:00-12:10")
    assert caught.value.code == "E-BACKUP-SCHEDULE-HOURS"


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (BackupSchedule(profile="shops", interval_s=6 * HOUR), "every 6 h"),
        (BackupSchedule(profile="shops", interval_s=1800, hours=WEEKEND), f"every 30 min within {WEEKEND}"),
        (BackupSchedule(profile="shops", interval_s=0), "none by themselves"),
    ],
)
def test_a_schedule_can_be_read_by_people(schedule: BackupSchedule, says: str) -> None:
    assert schedule.text == says
    assert every_text(36 * HOUR) == "every 36 h"


@pytest.mark.parametrize(
    ("interval_s", "hours", "days"),
    [(6 * HOUR, None, 0.5), (DAY, "22:00-06:00", 2), (DAY, "sun 01:00-05:00", 14), (6 * HOUR, WEEKEND, 12)],
)
def test_a_backup_is_too_old_when_the_second_one_after_it_should_have_come(
    interval_s: int, hours: str | None, days: float
) -> None:
    schedule = BackupSchedule(profile="shops", interval_s=interval_s, hours=hours)
    assert schedule.age == timedelta(days=days)


def test_where_a_profile_is_off_no_backup_is_too_old() -> None:
    assert BackupSchedule(profile="shops", interval_s=0).age is None


@pytest.mark.parametrize(
    "hours", ["", WEEKEND, NIGHTS, "22:00-06:00", "mon 00:00-24:00; wed 10:00-10:20", "sun 22:00-02:00"]
)
@pytest.mark.parametrize("interval_min", [15, 60, 6 * 60, 24 * 60, 25 * 60 + 7, 7 * 24 * 60, 9 * 24 * 60])
def test_the_longest_gap_is_the_one_that_is_found_by_trying_every_minute(hours: str, interval_min: int) -> None:
    window = Window.parse(hours, None)
    week = 7 * 24 * 60
    is_open = [not window.spans or any(start <= minute < end for start, end in window.spans) for minute in range(week)]
    wait = [0] * (2 * week)  # from each minute on, until the hours come
    for minute in reversed(range(2 * week)):
        wait[minute] = 0 if is_open[minute % week] else 1 + (wait[minute + 1] if minute + 1 < 2 * week else week)
    gaps = [interval_min + wait[(minute + interval_min) % week] for minute in range(week) if is_open[minute]]
    assert longest_gap_s(interval_min * 60, window) == max(gaps) * 60
