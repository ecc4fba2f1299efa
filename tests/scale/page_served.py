"""The page's section on sites that come back, and its picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import BLUE, GREY, INK, picture, plain
from record import DOCS

PICTURE = "images/bench-served.svg"


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """Median and 95th percentile."""
    median_s, late_s = _percentiles(result)
    return [
        Claim("served", "from back to being served, median, s", median_s, 5),
        Claim("served", "from back to being served, 95th percentile, s", late_s, 15),
    ]


def section(result: Mapping[str, Any]) -> str:
    """What was done, and both numbers."""
    median_s, late_s = _percentiles(result)
    return f"""\
## A site that comes back

{result["dark"]:,} sites stay dark and are tried again and again; {result["returned"]} others come back one after the \
other, at random moments. From the
moment at which a site's server listens to the start of its attempt: median {median_s:.1f} s, 95th percentile \
{late_s:.1f} s.

![How many of the sites were served after how long]({PICTURE})
"""


def draw(result: Mapping[str, Any]) -> None:
    """The share of sites that were served by then."""
    waits = sorted(result["waits_s"])
    shares = [100 * (place + 1) / len(waits) for place in range(len(waits))]
    with picture(DOCS / PICTURE, 1, (6, 2.6)) as (axis,):
        axis.step([0.0, *waits], [0.0, *shares], where="post", color=BLUE)
        for share, wanted_s, name in ((50, 5, "promised: half within 5 s"), (95, 15, "promised: 95 % within 15 s")):
            axis.plot([wanted_s], [share], marker="v", color=GREY)
            axis.annotate(name, (wanted_s, share), xytext=(8, -3), textcoords="offset points", color=INK)
        plain(axis, x="seconds since the site is back", y="% of the sites served")
        axis.set_xlim(0, max(24.0, waits[-1] * 1.1))
        axis.set_ylim(0, 104)


def _percentiles(result: Mapping[str, Any]) -> tuple[float, float]:
    waits = result["waits_s"]
    return statistics.median(waits), statistics.quantiles(waits, n=20, method="inclusive")[18]
