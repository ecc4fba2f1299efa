"""The page's section on probing, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import bars, picture
from record import DOCS

PICTURE = "images/bench-probe.svg"


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """Time, and a part of one core."""
    what = f"time for {result['targets']:,} addresses, {result['dead'] / result['targets']:.0%} dead, s"
    return [
        Claim("probe", what, result["wall_s"], 60),
        Claim("probe", "of one core meanwhile, %", 100 * result["cpu_s"] / result["wall_s"], 100),
    ]


def section(result: Mapping[str, Any]) -> str:
    """edgemgr's probe beside what one would write first."""
    rows = [
        f"| {name} | {way['targets']:,} | {way['wall_s']:.1f} | {1000 * way['wall_s'] / way['targets']:.2f} "
        f"| {1000 * way['cpu_s'] / way['targets']:.3f} |"
        for name, way in (("edgemgr", result), *((way["name"], way) for way in result["baselines"]))
    ]
    found = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(result["verdicts"].items()))
    newline = "\n"
    return f"""\
## Probing

A probe is a TCP connection and the greeting of the SSH server. {result["targets"]:,} addresses, of which \
{result["dead"]:,} are dead in different ways. What edgemgr told apart: {found}.

| way | addresses | s | ms an address | CPU ms an address |
|---|--:|--:|--:|--:|
{newline.join(rows)}

![Time and CPU for each address]({PICTURE})
"""


def draw(result: Mapping[str, Any]) -> None:
    """Time and CPU for each address."""
    ways = [("edgemgr", result), *((way["name"], way) for way in result["baselines"])]
    names, ours = [name for name, _ in ways], [name == "edgemgr" for name, _ in ways]
    with picture(DOCS / PICTURE, 2, (8, 2.0), share_names=True) as (left, right):
        left.set_title("milliseconds an address (less is better)")
        bars(left, names, [1000 * way["wall_s"] / way["targets"] for _, way in ways], "{:.2f}", ours)
        right.set_title("CPU milliseconds an address (less is better)")
        bars(right, names, [1000 * way["cpu_s"] / way["targets"] for _, way in ways], "{:.2f}", ours)
