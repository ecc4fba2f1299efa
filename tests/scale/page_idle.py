"""The page's section on an appliance that has nothing to do but wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim

MIB = 2**20


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """A small part of a core, and of the memory."""
    return [
        Claim("idle", "of one core while everything waits, %", _percent(result), 3),
        Claim("idle", "memory, MiB", result["memory_bytes"] / MIB, 300_000_000 / MIB),
    ]


def section(result: Mapping[str, Any]) -> str:
    """A few sentences; there is nothing to compare with."""
    return f"""\
## An idle appliance

`edgemgr serve` with {result["sites"]:,} sites that have not answered for hours and {result["operations"]:,} operations
that wait for them, observed for {result["seconds"]:.0f} s: it took {result["cpu_s"]:.2f} s of CPU, \
{_percent(result):.1f} % of one core, to try the sites and look
for work, and {result["memory_bytes"] / MIB:.0f} MiB of memory (proportional set size of all its processes). A page of \
the console with the
list of sites took {result["page_s"] * 1000:.0f} ms meanwhile.
"""


def draw(result: Mapping[str, Any]) -> None:
    """Nothing: two numbers need no picture."""


def _percent(result: Mapping[str, Any]) -> float:
    return float(100 * result["cpu_s"] / result["seconds"])
