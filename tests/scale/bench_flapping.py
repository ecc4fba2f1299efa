"""A flapping fleet, really and simulated, until all sites are bootstrapped; beside the theoretical best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, harmonic_mean, median
from typing import Any

from bench_queue import sqlite_database
from flapping_best import best_times, compare
from flapping_carrying import START_S, Carrying
from flapping_fleet import FlappingFleet, Round, flapping_fleet
from flapping_link import Flapping, Link, SteadyLink
from flapping_simulated import START, SimulatedFleet
from fleet_links import LinkQuality
from progress import say
from queue_fill import enqueue, make_sites

from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.queue.arrivals import ANSWER_GAP_S
from edgemgr.settings import Settings

LAB_SITES = 1_000
#: Before the flapping ones, and as many after them: a machine is not as quick at one time as at another. Several claims
#: each: of a single one all have been entered before many are done, and the rest looks faster than this machine goes.
STEADY_SITES = 400
SIMULATED_SITES, SIMULATED_STEADY = 10_000, 1_000
LIMIT_S = 6 * 3600.0
SHORTEST_S = 0.2  #: no site is carried in less, whatever the clock says
POINTS = 400  #: of a curve


def measure(*, quick: bool) -> dict[str, Any]:
    """The real fleet gives the simulated one its rate; a trial has only a small simulated one."""
    flapping, quality = Flapping(), LinkQuality()
    found: dict[str, Any] = {"flapping": {**asdict(flapping), "duty": flapping.duty}, "quality": asdict(quality)}
    if quick:
        return {**found, "simulated": _simulate(flapping, 5.0, 1.0, sites=300, steady=100)}
    with flapping_fleet(1 + 2 * STEADY_SITES + LAB_SITES, quality, flapping, is_faked=True) as fleet:
        first, again = fleet.bootstrap(1, is_flapping=False, times=2).attempts
        takes_s = first.finished_s - first.started_s
        alone_s = max(SHORTEST_S, again.finished_s - again.started_s - ANSWER_GAP_S - START_S)
        before = _steady(fleet)
        say(f"{takes_s:.1f} s for a site alone, {before.rate * 60:.0f} sites/min; now {LAB_SITES} flapping ones")
        flapped = fleet.bootstrap(LAB_SITES, is_flapping=True)
        say(f"flapping links: {flapped.wall_s / 60:.1f} min; now {STEADY_SITES} sites over steady links once more")
        after = _steady(fleet)
    say(f"steady links: {after.rate * 60:.0f} sites/min afterwards")
    links = [Link(flapping, site) for site in flapped.done]
    work = fmean([before.work, after.work])
    curves = _curves(
        list(flapped.done.values()),
        links,
        lambda at_s: work / flapped.costs.at(at_s),
        takes_s,
        asked_s=flapped.asked_s,
    )
    found["lab"] = {
        **curves,
        "rate_per_s": work / median(cost for _, cost in flapped.costs.samples),
        "steady": [asdict(before), asdict(after)],
        "steady_sites": STEADY_SITES,
        "fault_us": [round(cost, 2) for _, cost in flapped.costs.samples],
        **_account(flapped),
    }
    rate = harmonic_mean([before.rate, after.rate])
    simulated = _simulate(flapping, rate, alone_s, sites=SIMULATED_SITES, steady=SIMULATED_STEADY)
    return {**found, "simulated": simulated}


@dataclass(frozen=True)
class Steady:
    """What a round over steady links came to."""

    rate: float  #: sites a second
    fault_us: float  #: what a page fault cost meanwhile

    @property
    def work(self) -> float:
        """What the machine does in a second at a fault's cost of one microsecond; the same at any time."""
        return self.rate * self.fault_us


def _steady(fleet: FlappingFleet) -> Steady:
    done = fleet.bootstrap(STEADY_SITES, is_flapping=False)
    times_s = done.done.values()
    return Steady(steady_rate(times_s), done.costs.over(min(times_s), max(times_s)))


def steady_rate(done_s: Iterable[float]) -> float:
    """Sites a second while many are carried: without the begin and the end, when processors wait."""
    ordered = sorted(done_s)
    first, last = len(ordered) // 10, len(ordered) * 9 // 10
    return (last - first) / (ordered[last] - ordered[first])


def _simulate(flapping: Flapping, rate: float, alone_s: float, *, sites: int, steady: int) -> dict[str, Any]:
    """First without flapping, which gives the rate to compare with; then with it."""
    calm = _simulated_fleet([SteadyLink() for _ in range(steady)], rate, alone_s)
    reached = steady_rate(calm.done_s.values())
    say(f"simulated: {reached * 60:.0f} sites/min on steady links; now {sites} flapping ones")
    flapped = _simulated_fleet([Link(flapping, number) for number in range(sites)], rate, alone_s)
    links = [Link(flapping, number) for number in range(sites)]
    return {
        **_curves(list(flapped.done_s.values()), links, lambda _at_s: reached, ANSWER_GAP_S + START_S + alone_s),
        "rate_per_s": reached,
        "alone_s": alone_s,
        "steady_sites": steady,
        "attempts": flapped.attempts,
        "probes": flapped.probes,
    }


def _simulated_fleet(links: Sequence[Link], rate: float, alone_s: float) -> SimulatedFleet:
    settings = Settings()
    with sqlite_database() as database:
        site_ids = make_sites(database, len(links))
        enqueue(database, site_ids, OperationKind.BOOTSTRAP, START)
        carrying = Carrying(rate, alone_s, settings.forks, settings.connect_timeout_s)
        fleet = SimulatedFleet(database, settings, dict(zip(site_ids, links, strict=True)), carrying)
        fleet.run(until_s=LIMIT_S)
        return fleet


def _curves(
    times_s: list[float], links: Sequence[Link], rate_at: Callable[[float], float], takes_s: float, asked_s: float = 0.0
) -> dict[str, Any]:
    """Both curves from the moment on at which the sites were asked for."""
    done_s = [each - asked_s for each in times_s]
    best_s = best_times(links, rate_at, takes_s, asked_s=asked_s)
    return {
        "sites": len(done_s),
        "takes_s": takes_s,
        "ratios": compare(done_s, best_s),
        "ratios_to_no_time": compare(done_s, best_times(links, rate_at, asked_s=asked_s)),
        "done_s": _points(done_s),
        "best_s": _points(best_s),
    }


def _points(times_s: list[float]) -> list[float]:
    """The curve of sites done over time, as the times at which equal shares of them were."""
    ordered = sorted(times_s)
    places = sorted({round(number * (len(ordered) - 1) / POINTS) for number in range(POINTS + 1)})
    return [round(ordered[place], 1) for place in places]


def _account(done: Round) -> dict[str, Any]:
    outcomes = [attempt.outcome for attempt in done.attempts]
    return {
        "wall_s": done.wall_s,
        "cpu_s": done.cpu_s,
        "memory_bytes": done.memory_bytes,
        "attempts": len(outcomes),
        "outcomes": {outcome.value: outcomes.count(outcome.value) for outcome in Outcome if outcome.value in outcomes},
    }
