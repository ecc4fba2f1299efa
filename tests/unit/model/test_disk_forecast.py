from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.disk_forecast import EVICTION_FREE, FARTHEST_DAYS, LEAST_POINTS, LEAST_SPAN_DAYS, forecast
from edgemgr.model.disk_history import MOST_POINTS, Point, day_of, with_point

GIB = 1 << 30
SIZE = 100 * GIB
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TODAY = day_of(NOW)


def line(days: int, growth: float, used: float = 40 * GIB) -> list[Point]:
    """So many days up to today, with `used` on the last."""
    return [(TODAY - back, int(used - growth * back)) for back in reversed(range(days))]


def test_a_disk_that_grows_evenly_is_full_when_the_line_says_so() -> None:
    found = forecast(line(20, GIB), SIZE, NOW)
    assert found.growth_bytes_day == GIB
    assert found.full_at == datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=100 * (1 - EVICTION_FREE) - 40)


@pytest.mark.parametrize("days", [LEAST_SPAN_DAYS + 1, 20, 30])
def test_days_on_which_something_was_staged_or_cleared_away_do_not_turn_the_line(days: int) -> None:
    points = line(days, GIB / 2)
    straight = forecast(points, SIZE, NOW).full_at
    odd = random.Random(5).sample(range(days), days * 3 // 10)  # noqa: S311 - repeatable
    for number, at in enumerate(odd):
        points[at] = (points[at][0], points[at][1] + (30 if number % 2 else -30) * GIB)
    if points[-1][1] >= SIZE * (1 - EVICTION_FREE):
        pytest.skip("the last day itself is full")
    found = forecast(points, SIZE, NOW).full_at
    assert straight is not None
    assert found is not None
    assert abs(found - straight) < timedelta(days=60)


@pytest.mark.parametrize("growth", [0.0, -GIB])
def test_a_disk_that_does_not_grow_is_not_full_on_any_day(growth: float) -> None:
    found = forecast(line(20, growth), SIZE, NOW)
    assert (found.full_at, found.why) == (None, "")


def test_what_is_farther_away_than_one_can_see_is_not_foretold() -> None:
    found = forecast(line(20, GIB / FARTHEST_DAYS), SIZE, NOW)
    assert (found.full_at, found.why) == (None, "")


@pytest.mark.parametrize("points", [[], line(LEAST_POINTS - 1, GIB), line(LEAST_SPAN_DAYS, GIB)])
def test_too_few_days_or_too_short_a_time_is_not_known_and_says_so(points: list[Point]) -> None:
    found = forecast(points, SIZE, NOW)
    assert found.full_at is None
    assert "needed" in found.why


def test_a_disk_that_is_full_is_full_with_one_look_and_since_then() -> None:
    assert forecast([(TODAY, 96 * GIB)], SIZE, NOW).full_at == datetime(2026, 11, 20, tzinfo=UTC)
    assert forecast([(TODAY - 9, 96 * GIB)], SIZE, NOW).full_at == datetime(2026, 11, 11, tzinfo=UTC)


def test_a_site_not_seen_for_long_may_have_been_full_for_long() -> None:
    found = forecast([(day - 200, used) for day, used in line(20, GIB)], SIZE, NOW)
    assert found.full_at is not None
    assert found.full_at < NOW


def test_one_point_a_day_is_kept_the_last_of_it_and_only_so_many_days() -> None:
    points: list[list[int]] = []
    for hour in range(24 * (MOST_POINTS + 10)):
        points = with_point(points, NOW + timedelta(hours=hour), hour)
    assert len(points) == MOST_POINTS
    assert points == sorted(points)
    assert points[-1] == [day_of(NOW + timedelta(hours=hour)), hour]
    assert len({day for day, _ in points}) == MOST_POINTS


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 1 << 63)), unique_by=lambda point: point[0], max_size=30),
    st.integers(1, 1 << 63),
)
def test_whatever_was_seen_a_date_is_within_sight_or_there_is_none(points: list[Point], size: int) -> None:
    points.sort()
    found = forecast(points, size, NOW)
    if found.full_at is not None:
        assert found.full_at <= NOW + timedelta(days=FARTHEST_DAYS + 1)
        assert found.why == ""


@given(st.integers(1, 20), st.floats(0.05, 2), st.floats(1.05, 3))
def test_the_faster_it_grows_the_sooner_it_is_full(seed: int, growth: float, times: float) -> None:
    dice = random.Random(seed)  # noqa: S311 - repeatable
    noise = [dice.uniform(-0.004, 0.004) * growth * GIB for _ in range(20)]
    slow, fast = (
        forecast(
            [(day, int(used + more)) for (day, used), more in zip(line(20, rate * GIB), noise, strict=True)], SIZE, NOW
        ).full_at
        for rate in (growth, growth * times)
    )
    assert slow is not None
    assert fast is not None
    assert fast <= slow
