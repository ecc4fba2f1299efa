"""Windows on a site's wall clock, on the two days of the year on which it is moved as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemgr.errors import InventoryError
from edgemgr.model.window import DAYS, Window, all_open_at

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"]
SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # Berlin: 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)  # Berlin: 03:00 becomes 02:00

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
near_changes = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from([SPRING, AUTUMN, datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 3, 8, 7, tzinfo=UTC)]),
    st.integers(-3000, 3000),
)
times = st.builds(lambda hour, quarter: f"{hour:02}:{quarter * 15:02}", st.integers(0, 23), st.integers(0, 3))
parts = st.builds(
    lambda days, start, end: f"{','.join(sorted(days))} {start}-{end}",
    st.sets(st.sampled_from(DAYS), min_size=1),
    times,
    times,
)
texts = st.lists(parts, min_size=1, max_size=3).map("; ".join)


@given(texts, st.sampled_from(ZONES), moments | near_changes)
@example("sun 02:00-03:00", "Europe/Berlin", SPRING - timedelta(days=1))
@example("sun 02:00-03:00", "Europe/Berlin", AUTUMN - timedelta(days=1))
@example("sun 02:30-03:30", "Europe/Berlin", AUTUMN)
def test_the_next_change_is_the_first_moment_that_differs(text: str, zone: str, at: datetime) -> None:
    window = Window.parse(text, zone)
    now = window.is_open(at)
    found = window.changes_at(at)
    if found is None:
        assert not window.spans or all(window.is_open(at + timedelta(hours=number)) == now for number in range(24 * 7))
        return
    assert found > at
    assert found.utcoffset() == timedelta(0)
    assert window.is_open(found) != now
    assert window.is_open(found - timedelta(microseconds=1)) == now
    step = max(timedelta(minutes=5), (found - at) / 200)
    between = at
    while between < found:
        assert window.is_open(between) == now
        between += step


@given(texts, st.sampled_from(ZONES), moments | near_changes)
def test_the_wall_clock_decides(text: str, zone: str, at: datetime) -> None:
    window = Window.parse(text, zone)
    local = at.astimezone(window.zone)
    clock = f"{local:%H:%M}"
    expected = False
    for part in text.split("; "):
        days, _, hours = part.partition(" ")
        start, end = hours.split("-")
        today, before = DAYS[local.weekday()] in days, DAYS[local.weekday() - 1] in days
        if start < end:
            expected |= today and start <= clock < end
        else:
            expected |= (today and clock >= start) or (before and clock < end)
    assert window.is_open(at) == expected


def test_an_hour_that_the_clocks_skip_is_no_window_and_one_that_comes_twice_is_two_hours() -> None:
    window = Window.parse("sun 02:00-03:00", "Europe/Berlin")
    assert not any(window.is_open(SPRING + timedelta(minutes=number)) for number in range(-120, 120))
    autumn = [window.is_open(AUTUMN + timedelta(minutes=number)) for number in range(-180, 180)]
    assert autumn == [False] * 120 + [True] * 120 + [False] * 120
    assert window.opens_at(SPRING - timedelta(hours=12)) == datetime(2026, 4, 5, 0, 0, tzinfo=UTC)


def test_a_night_across_the_change_ends_at_its_hour_on_the_wall() -> None:
    window = Window.parse("22:00-06:00", "Europe/Berlin")
    assert window.changes_at(datetime(2026, 3, 28, 22, tzinfo=UTC)) == datetime(2026, 3, 29, 4, tzinfo=UTC)
    assert window.changes_at(datetime(2026, 10, 24, 22, tzinfo=UTC)) == datetime(2026, 10, 25, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", " ; ", "00:00-24:00", "mon-fri 00:00-24:00; sat,sun 00:00-00:00"])
def test_no_window_and_the_whole_week_are_always_open(text: str) -> None:
    window = Window.parse(text, None)
    assert window.is_open(SPRING)
    assert window.changes_at(SPRING) is None
    assert window.opens_at(SPRING) == SPRING


def test_days_may_run_over_the_end_of_the_week() -> None:
    window = Window.parse("sat-mon 10:00-11:00", "UTC")
    open_days = [day for day in range(1, 8) if window.is_open(datetime(2026, 6, day, 10, 30, tzinfo=UTC))]
    assert open_days == [1, 6, 7]  # the first of June 2026 is a Monday


@pytest.mark.parametrize(
    "text", ["22-06", "25:00-26:00", "22:00-24:01", "22:60-23:00", "noday 22:00-23:00", "mon- 22:00-23:00", "night"]
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InventoryError) as caught:
        Window.parse(text, "UTC")
    assert caught.value.code == "E-WINDOW"
    assert "mon-fri" in caught.value.hint


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InventoryError) as caught:
        Window.parse("22:00-06:00", zone)
    assert caught.value.code == "E-WINDOW-ZONE"


def test_several_windows_are_open_together_where_they_overlap() -> None:
    night, weekend = Window.parse("22:00-06:00", "UTC"), Window.parse("sat,sun 00:00-24:00", "UTC")
    wednesday = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
    assert all_open_at([], wednesday) == wednesday
    assert all_open_at([night], wednesday) == datetime(2026, 11, 18, 22, 0, tzinfo=UTC)
    assert all_open_at([night, weekend], wednesday) == datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
    assert all_open_at([night, weekend], datetime(2026, 11, 21, 3, 0, tzinfo=UTC)).hour == 3


def test_windows_that_are_never_open_together_give_a_moment_to_ask_again() -> None:
    now = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
    later = all_open_at([Window.parse("mon 00:00-01:00", "UTC"), Window.parse("tue 00:00-01:00", "UTC")], now)
    assert timedelta(days=14) < later - now < timedelta(days=32)
