"""Throttle: never faster than its buckets say, whoever asks and whatever is changed meanwhile."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.links.throttle import Bandwidth, Bucket, Throttle


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


steps = st.lists(st.tuples(st.integers(1, 300_000), st.floats(0, 3)), min_size=1, max_size=40)
rates = st.floats(1000, 10_000_000)


@given(steps, rates, st.integers(1, 500_000))
def test_no_more_than_rate_times_time_and_one_burst_leaves(
    steps: list[tuple[int, float]], rate: float, burst: int
) -> None:
    clock = Clock()
    throttle = Throttle([Bucket(rate, burst_bytes=burst, clock=clock)], sleep=clock.sleep)
    left = 0
    for size, pause in steps:
        assert throttle.wait(size)
        left += size
        assert left <= burst + rate * (clock.now - 100.0) + 1
        clock.now += pause


@given(steps, rates, rates)
def test_a_transfer_keeps_to_the_strictest_of_its_buckets(
    steps: list[tuple[int, float]], one: float, other: float
) -> None:
    clock = Clock()
    buckets = [Bucket(rate, burst_bytes=1000, clock=clock) for rate in (one, other)]
    throttle = Throttle([*buckets, Bucket(clock=clock)], sleep=clock.sleep)
    total = sum(size for size, _ in steps)
    for size, _ in steps:
        throttle.wait(size)
    least_s = (total - 1000) / min(one, other)
    assert least_s - 0.001 <= clock.now - 100.0 <= total / min(one, other) + 0.001 or total <= 1000


@given(st.lists(st.tuples(st.integers(1, 50_000), rates, st.floats(0, 5)), min_size=1, max_size=30))
def test_a_rate_that_is_changed_holds_from_then_on(steps: list[tuple[int, float, float]]) -> None:
    clock = Clock()
    bucket = Bucket(1000, burst_bytes=500, clock=clock)
    throttle = Throttle([bucket], sleep=clock.sleep)
    left, allowed = 0, 500.0
    for size, rate, pause in steps:
        bucket.set_rate(rate)
        began = clock.now
        throttle.wait(size)
        left += size
        allowed += rate * (clock.now - began)
        assert left <= allowed + 1
        assert clock.now - began <= size / rate + 0.001
        clock.now += pause
        allowed += rate * pause


def test_a_limit_that_is_lifted_lets_go_at_once_and_leaves_no_debt() -> None:
    clock = Clock()
    bucket = Bucket(1000, burst_bytes=500, clock=clock)
    place = bucket.ask(1_000_000)
    assert bucket.wait_s(place) > 900
    bucket.set_rate(None)
    assert bucket.wait_s(place) == 0
    bucket.set_rate(1000)
    assert bucket.wait_s(bucket.ask(500)) == 0
    assert bucket.wait_s(bucket.ask(1000)) == pytest.approx(1.0)


def test_a_raised_rate_shortens_a_wait_that_has_begun() -> None:
    clock = Clock()
    bucket = Bucket(1000, burst_bytes=1, clock=clock)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        bucket.set_rate(1_000_000)

    assert Throttle([bucket], sleep=sleep).wait(100_000)
    assert clock.now - 100.0 < 1


def test_after_a_long_pause_only_one_burst_leaves_at_once() -> None:
    clock = Clock()
    bucket = Bucket(1000, burst_bytes=2000, clock=clock)
    clock.now += 10_000
    assert bucket.wait_s(bucket.ask(2000)) == 0
    assert bucket.wait_s(bucket.ask(1000)) == pytest.approx(1.0)


def test_a_canceled_wait_ends() -> None:
    clock = Clock()
    throttle = Throttle([Bucket(10, burst_bytes=1, clock=clock)], sleep=clock.sleep)
    assert not throttle.wait(1_000_000, lambda: clock.now > 105)
    assert clock.now < 106


def test_who_waits_for_its_own_site_holds_up_nobody_else() -> None:
    clock = Clock()
    bandwidth = Bandwidth(clock=clock, sleep=clock.sleep)
    bandwidth.set_rate("all", 1_000_000)
    bandwidth.set_rate("site:slow", 100)
    slow, fast = bandwidth.throttle(["all", "site:slow"]), bandwidth.throttle(["all", "site:fast"])
    assert not slow.wait(100_000, lambda: True)
    assert fast.wait(100_000)
    assert clock.now - 100.0 < 0.3


def test_a_part_that_is_named_twice_counts_once_and_may_get_its_limit_later() -> None:
    clock = Clock()
    bandwidth = Bandwidth(clock=clock, sleep=clock.sleep)
    throttle = bandwidth.throttle(["group:a", "group:a"])
    assert throttle.wait(10_000_000)
    assert clock.now == 100.0
    bandwidth.set_rate("group:a", 1_000_000)
    for _ in range(4):
        throttle.wait(1_000_000)
    assert 3.5 < clock.now - 100.0 < 4.01


def test_threads_share_a_bucket_without_exceeding_it() -> None:
    clock = Clock()
    bucket = Bucket(1000, burst_bytes=1, clock=clock)
    places: list[float] = []
    threads = [threading.Thread(target=lambda: places.extend(bucket.ask(10) for _ in range(200))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(places) == [10.0 * number for number in range(1, 801)]


def test_a_rate_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="close their window"):
        Bucket(0)
