"""What the curve of a flapping fleet is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from flapping_best import best_times, compare
from flapping_link import Flapping, Link, SteadyLink


def always(rate: float) -> Callable[[float], float]:
    return lambda _at_s: rate


def test_a_link_is_the_same_for_the_same_seed_in_whatever_order_it_is_asked() -> None:
    moments = [7.5 * number for number in range(200)]
    forwards, backwards = Link(Flapping(seed=3), 8), Link(Flapping(seed=3), 8)
    assert [forwards.is_up(at_s) for at_s in moments] == [backwards.is_up(at_s) for at_s in reversed(moments)][::-1]


def test_links_are_up_for_the_share_of_the_time_that_was_asked_for() -> None:
    flapping = Flapping(mean_up_s=60, mean_down_s=40)
    looks = [Link(flapping, number).is_up(at_s) for number in range(100) for at_s in range(0, 5000, 50)]
    assert sum(looks) / len(looks) == pytest.approx(0.6, abs=0.03)


def test_a_link_is_otherwise_at_its_next_change_and_not_before() -> None:
    link = Link(Flapping(), 5)
    for at_s in range(0, 1000, 30):
        change_s = link.next_change(at_s)
        assert link.is_up(at_s) == link.is_up((at_s + change_s) / 2) != link.is_up(change_s)


def test_the_best_serves_steady_links_at_the_rate_alone() -> None:
    assert best_times([SteadyLink() for _ in range(10)], always(2)) == [pytest.approx(n / 2) for n in range(1, 11)]


def test_the_best_is_as_quick_as_the_machine_at_each_time() -> None:
    times = best_times([SteadyLink() for _ in range(200)], lambda at_s: 1 if at_s < 100 else 2)
    assert (times[0], times[-1] - times[-2]) == (pytest.approx(1), pytest.approx(0.5))
    assert sum(time_s <= 100 for time_s in times) == 100


def test_the_best_serves_nobody_whose_link_is_down_and_never_faster_than_the_rate() -> None:
    links = [Link(Flapping(), number) for number in range(50)]
    times = best_times(links, always(5))
    assert len(times) == 50
    assert all(sum(link.is_up(at_s) for link in links) >= 1 for at_s in times)
    assert all(later - earlier >= 0.2 - 1e-9 for earlier, later in itertools.pairwise(times))


def test_the_best_begins_nothing_that_a_link_would_cut_off() -> None:
    links = [Link(Flapping(mean_up_s=10), number) for number in range(50)]
    for done_s in best_times(links, always(5), takes_s=6):
        begun_s = done_s - 6
        assert any(link.is_up(begun_s) and link.next_change(begun_s) >= done_s for link in links)
    (alone_s,) = best_times(links[:1], always(5), takes_s=6)
    assert links[0].next_change(alone_s - 6) >= alone_s


def test_the_best_does_not_begin_before_it_is_asked() -> None:
    assert best_times([SteadyLink()], always(2), takes_s=3, asked_s=7.0) == [pytest.approx(3.5)]
    (done_s,) = best_times([link := Link(Flapping(), 1)], always(5), asked_s=50.0)
    assert link.is_up(50.0 + done_s)


def test_whoever_takes_twice_as_long_for_every_site_is_twice_the_best_in_every_way() -> None:
    best = best_times([Link(Flapping(), number) for number in range(100)], always(5))
    assert list(compare([2 * each for each in best], best).values()) == pytest.approx([2.0, 2.0, 2.0])
