"""The page's section on a fleet whose links come and go, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import BLUE, GREY, INK, picture, plain
from record import DOCS

PICTURE = "images/bench-flapping.svg"
MIB = 2**20
WANTED = 1.5
_FLEETS = {"lab": "light lab sites", "simulated": "simulated sites"}


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """The curve, by its end, its area and its worst point, within so many times the best."""
    found = []
    for fleet, name in _FLEETS.items():
        if fleet in result:
            ratios, sites, worst = result[fleet]["ratios"], result[fleet]["sites"], _worst(result[fleet])
            found.append(Claim("flapping", f"{sites:,} {name}: until all are done, times the best", ratios["all"], 1.5))
            found.append(Claim("flapping", f"{sites:,} {name}: on average, times the best", ratios["mean"], 1.5))
            found.append(Claim("flapping", f"{sites:,} {name}: at the worst point, times the best", worst, 1.5))
    return found


def section(result: Mapping[str, Any]) -> str:
    """How the links behave, what the best is, and how near edgemgr came."""
    flapping, quality = result["flapping"], result["quality"]
    rows = [
        f"| {each['sites']:,} {_FLEETS[fleet]} | {each['rate_per_s'] * 60:.0f} | {each['done_s'][-1] / 60:.1f} "
        f"| {each['best_s'][-1] / 60:.1f} | {each['ratios']['all']:.2f} | {each['ratios']['most']:.2f} "
        f"| {each['ratios']['mean']:.2f} | {_worst(each):.2f} | {each['attempts'] / each['sites']:.2f} |"
        for fleet, each in ((fleet, result[fleet]) for fleet in _FLEETS if fleet in result)
    ]
    fleets = [result[fleet] for fleet in _FLEETS if fleet in result]
    takes = " and ".join(f"{each['takes_s']:.1f} s" for each in fleets)
    to_no_time = " and ".join(f"{each['ratios_to_no_time']['mean']:.2f}" for each in fleets)
    newline = "\n"
    return f"""\
## A flapping fleet

Every site's link is up for {flapping["mean_up_s"]:.0f} s and down for {flapping["mean_down_s"]:.0f} s on average \
(exponential spans, a duty cycle of {flapping["duty"]:.0%}), for every site by itself. All
are asked for at once, and it goes on until all are bootstrapped.

The theoretical best serves every site the moment it is up, as many a minute as the same machine does when no link flaps
(measured in the same run, the first and the last tenth apart): it knows at every moment which links are up and for how
long, and loses nothing to one that goes down in the middle. A site is done as long after it is served as one takes \
that
has all to itself ({takes}). Both count from the moment at which the sites are in the queue. \
Beside a best that needs no time for a site, edgemgr takes on average
{to_no_time} times as long. The worst point is that of the curve from its first tenth on: before, most of the time is
what the first logins and the first Ansible process take to begin.

| fleet | sites/min without flapping | all done, min | the best, min | all done, times the best | 95 % done, times \
| on average, times | at the worst point, times | attempts a site |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
{newline.join(rows)}

![Sites done over time, beside the theoretical best]({PICTURE})

{_lab(result["lab"], quality) if "lab" in result else ""}
- **Simulated sites**: the real store, claim, settle, retry table and watch on a clock of their own; links are played as
  above, and so is the carrying: who is tried when, groups, forks and the time limits are those of the worker, the
  processors are shared evenly up to the rate that was measured, and a site alone takes \
{result["simulated"]["alone_s"]:.1f} s. The watch made {result["simulated"]["probes"]:,} probes.
"""


def _worst(fleet: Mapping[str, Any]) -> float:
    """How many times as long as the best it took at the worst point of the curve, from its first tenth on."""
    points = list(zip(fleet["done_s"], fleet["best_s"], strict=True))
    return float(max(done / best for done, best in points[len(points) // 10 :]))


def draw(result: Mapping[str, Any]) -> None:
    """Both fleets beside each other, each with its best."""
    chosen = [fleet for fleet in _FLEETS if fleet in result]
    with picture(DOCS / PICTURE, len(chosen), (5 * len(chosen), 3.0)) as axes:
        for axis, fleet in zip(axes, chosen, strict=True):
            each = result[fleet]
            shares = [100 * number / (len(each["done_s"]) - 1) for number in range(len(each["done_s"]))]
            axis.plot([second / 60 for second in each["best_s"]], shares, color=GREY, label="theoretical best")
            stretched = [second * WANTED / 60 for second in each["best_s"]]
            axis.plot(stretched, shares, color=GREY, linestyle=":", label=f"{WANTED:g} times as long")
            axis.plot([second / 60 for second in each["done_s"]], shares, color=BLUE, linewidth=2, label="edgemgr")
            plain(axis, x="minutes", y="% of the sites bootstrapped")
            axis.set_title(f"{each['sites']:,} {_FLEETS[fleet]}", color=INK)
            axis.set_xlim(0, 1.1 * max(each["done_s"][-1], each["best_s"][-1]) / 60)
            axis.set_ylim(0, 103)
            axis.legend(frameon=False, loc="lower right")


def _lab(lab: Mapping[str, Any], quality: Mapping[str, Any]) -> str:
    before, after = lab["steady"]
    products = " and ".join(f"{each['rate'] * each['fault_us']:.1f}" for each in (before, after))
    costs = sorted(lab["fault_us"])
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in lab["outcomes"].items())
    return f"""\
- **Light lab sites**: the installed edgemgr against a real sshd in each site, from the first login with a password on;
  every link {2 * quality["delay_ms"]:.0f} ms there and back, {quality["loss_percent"]:g} % loss and \
{quality["rate_mbit"]:.0f} Mbit/s each way. The nodes' Python is faked as in the part on
  bootstrapping: a thousand real ones do not fit beside the appliance on this machine. {lab["attempts"]:,} attempts \
({outcomes}),
  {lab["cpu_s"] / lab["sites"]:.2f} s of the controller's CPU a site, peak memory {lab["memory_bytes"] / MIB:.0f} MiB. \
The rate without flapping is that of {lab["steady_sites"]} other sites
  before and {lab["steady_sites"]} after, first login and all, over links that are equally long, lossy and slow: \
{before["rate"] * 60:.0f}
  and {after["rate"] * 60:.0f} a minute. No virtual machine is equally quick at all times; what tells how quick it is \
is what
  a page fault costs in CPU time: {before["fault_us"]:.2f} and {after["fault_us"]:.2f} µs meanwhile, which times the \
sites a second is {products}, and
  {costs[len(costs) // 20]:.2f} to {costs[-1 - len(costs) // 20]:.2f} µs during the flapping. The rate of the best \
goes by that cost, from moment to moment; the table gives
  it at the median."""
