from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.web.rendering import ago, iso, lasting, segment, size, span, utc

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (864000, "10d")],
)
def test_a_span_is_given_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_a_span_never_says_more_than_has_passed(seconds: float) -> None:
    text = span(seconds)
    unit_s = {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
    assert int(text[:-1]) * unit_s <= seconds < (int(text[:-1]) + 1) * unit_s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1s"),
        (0.2, "1s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (4980, "1h 23m"),
        (3605, "1h 5s"),
        (266400, "3d 2h"),
        (266461, "3d 2h"),
    ],
)
def test_what_is_still_to_come_is_given_in_two_units_and_never_as_nothing(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_a_moment_is_told_by_its_distance() -> None:
    assert ago(NOW - timedelta(minutes=3), NOW) == "3m ago"
    assert ago(NOW + timedelta(seconds=40), NOW) == "in 40s"
    assert ago(NOW + timedelta(milliseconds=5), NOW) == "0s ago"
    assert ago(None) == "never"


def test_a_moment_is_written_in_utc_whatever_its_zone() -> None:
    moment = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert utc(moment) == "2026-11-20 12:00:00 UTC"
    assert iso(moment) == "2026-11-20T12:00:00Z"


def test_sizes_have_binary_units() -> None:
    assert [size(n) for n in (0, 1023, 1024, 8 << 30, 3 << 50)] == ["0 B", "1023 B", "1.0 KiB", "8.0 GiB", "3072.0 TiB"]


def test_a_name_is_one_piece_of_a_path() -> None:
    assert segment("a/b?c#d%") == "a%2Fb%3Fc%23d%25"
