"""Throughput: learnt from history, not shaken by a stall, honest about what it does not know."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.throughput import Throughput

rates = st.floats(1e3, 1e9)
seconds = st.floats(0.1, 3600)
samples = st.lists(st.tuples(rates, seconds), min_size=1, max_size=30)


def _learn(samples: list[tuple[float, float]]) -> Throughput:
    first, *others = [(max(1, int(rate * elapsed)), elapsed) for rate, elapsed in samples]
    learnt = Throughput.first(*first)
    assert learnt is not None
    for sent_bytes, elapsed_s in others:
        learnt = learnt.seen(sent_bytes, elapsed_s)
    return learnt


@given(samples)
def test_the_rate_lies_between_the_slowest_and_the_fastest_that_was_seen(samples: list[tuple[float, float]]) -> None:
    seen = [max(1, int(rate * elapsed)) / elapsed for rate, elapsed in samples]
    assert min(seen) * 0.999 <= _learn(samples).rate_bytes_s <= max(seen) * 1.001


@given(samples, st.integers(1, 10**12))
def test_an_eta_is_ordered_and_grows_with_what_remains(samples: list[tuple[float, float]], remaining: int) -> None:
    learnt = _learn(samples)
    eta, more = learnt.eta(remaining), learnt.eta(2 * remaining)
    assert 0 < eta.soon_s < eta.likely_s < eta.late_s
    assert more.likely_s == pytest.approx(2 * eta.likely_s)
    assert learnt.eta(0).late_s == 0


@given(samples, st.floats(0.01, 100))
def test_only_the_ratio_of_rates_matters(samples: list[tuple[float, float]], factor: float) -> None:
    learnt = Throughput.first(10**9, 1.0)
    scaled = Throughput.first(int(10**9 * factor), 1.0)
    assert learnt is not None
    assert scaled is not None
    for rate, elapsed_s in samples:
        learnt = learnt.seen(int(rate * 1e6), elapsed_s)
        scaled = scaled.seen(int(rate * 1e6 * factor), elapsed_s)
    assert scaled.rate_bytes_s / learnt.rate_bytes_s == pytest.approx(factor, rel=1e-3)


@given(rates, st.integers(1, 1000), seconds)
def test_one_stall_moves_a_settled_estimate_by_less_than_a_third(
    rate: float, sent_bytes: int, elapsed_s: float
) -> None:
    settled = _learn([(rate, 60.0)] * 20)
    after = settled.seen(sent_bytes, elapsed_s)
    assert settled.rate_bytes_s * 0.66 < after.rate_bytes_s
    assert settled.seen(0, elapsed_s) == settled


@given(rates, st.floats(0.02, 50))
def test_a_link_that_has_really_changed_is_followed(rate: float, factor: float) -> None:
    learnt = _learn([(rate, 60.0)] * 20 + [(rate * factor, 60.0)] * 30)
    assert learnt.rate_bytes_s == pytest.approx(rate * factor, rel=0.1)


def test_the_range_is_narrow_on_a_steady_link_and_wide_on_a_moody_one() -> None:
    steady = _learn([(1e6, 60.0)] * 20).eta(10**8)
    moody = _learn([(3e5, 60.0), (3e6, 60.0)] * 10).eta(10**8)
    assert steady.likely_s == pytest.approx(100, rel=0.01)
    assert steady.late_s / steady.soon_s < 1.2
    assert moody.late_s / moody.soon_s > 4


def test_a_limit_that_is_set_now_outweighs_what_was_learnt() -> None:
    eta = _learn([(1e6, 60.0)] * 20).eta(10**8, cap_bytes_s=1e5)
    assert eta.soon_s == eta.likely_s == eta.late_s == pytest.approx(1000)


@pytest.mark.parametrize(("sent_bytes", "elapsed_s"), [(0, 10.0), (10, 0.0), (-1, 1.0)])
def test_nothing_is_learnt_from_nothing(sent_bytes: int, elapsed_s: float) -> None:
    assert Throughput.first(sent_bytes, elapsed_s) is None


def test_a_short_sample_counts_less_than_a_long_one() -> None:
    settled = _learn([(1e6, 60.0)] * 20)
    short, long = settled.seen(2 * 10**5, 0.1), settled.seen(120 * 10**6, 60.0)
    assert math.log(short.rate_bytes_s / 1e6) < 0.01 < math.log(long.rate_bytes_s / 1e6)
