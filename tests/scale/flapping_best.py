"""The theoretical best for a flapping fleet: every site is served the moment it is up, as fast as without flapping.

It knows at any moment which links are up and for how long, loses nothing to a link that goes down in the middle, and
needs no time to notice that one is back. Nobody can reach it; how near one came is the measure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from flapping_link import Link

_LOOKS = 20  #: random looks for a site that is up, before all are looked at


def best_times(
    links: Sequence[Link],
    rate_at: Callable[[float], float],
    takes_s: float = 0.0,
    *,
    asked_s: float = 0.0,
    seed: int = 1,
) -> list[float]:
    """When each site would be done, in the order of time, in seconds since they were asked for.

    That was at `asked_s` of the links' time.

    `rate_at` gives how many a second are served at a time: so they are begun one by one, if any is up for as long as a
    site takes that has all to itself (`takes_s`).
    """
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    left = list(links)
    times: list[float] = []
    at_s = asked_s
    while left:
        at_s += 1 / rate_at(at_s)
        looks = (chance.randrange(len(left)) for _ in range(_LOOKS))
        chosen = next((n for n in looks if _begins(left[n], at_s, takes_s) == at_s), None)
        if chosen is None:  # few are left, or few are up: the one that is up first
            chosen = min(range(len(left)), key=lambda number: _begins(left[number], at_s, takes_s))
            at_s = _begins(left[chosen], at_s, takes_s)
        left[chosen], left[-1] = left[-1], left[chosen]
        left.pop()
        times.append(at_s + takes_s - asked_s)
    return times


def _begins(link: Link, at_s: float, takes_s: float) -> float:
    """The first moment from which it is up for so long."""
    at_s = link.up_from(at_s)
    while (down_s := link.next_change(at_s)) < at_s + takes_s:
        at_s = link.up_from(down_s)
    return at_s


def compare(times_s: Sequence[float], best_s: Sequence[float]) -> dict[str, float]:
    """How many times as long it took: until all were done, until 95 % were, and on average over the sites.

    The last is the ratio of the areas above both curves of sites done over time.
    """
    ordered, ideal = sorted(times_s), sorted(best_s)
    late = int(len(ordered) * 0.95) - 1
    return {
        "all": ordered[-1] / ideal[-1],
        "most": ordered[late] / ideal[late],
        "mean": sum(ordered) / sum(ideal),
    }
