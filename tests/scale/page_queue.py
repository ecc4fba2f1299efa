"""The page's section on the queue, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import paired_bars, picture
from record import DOCS

PICTURE = "images/bench-queue.svg"


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """The queue is never what limits the appliance."""
    slowest = min(rate for each in result["databases"] for rate in each["rates"].values())
    return [
        Claim("queue", "operations claimed and settled, a second, in the slowest way", slowest, 20, at_least=True),
        Claim("queue", "a look for work with all of them waiting, ms", 1000 * _worst(result, "look_s"), 10),
    ]


def section(result: Mapping[str, Any]) -> str:
    """A column for each database."""
    databases = result["databases"]
    titles = " | ".join(each["database"] for each in databases)
    rows = [
        *(
            _row(f"claimed and settled in batches of {size}, {threads} thread{'s' if threads > 1 else ''}",
                 [f"{each['rates'][f'{size} x {threads}']:,.0f} /s" for each in databases])
            for size in (1, result["batch"]) for threads in (1, 4)
        ),
        *(_row(f"{what} {result['sites']:,} at once", [f"{each['bulk'][what]:.2f} s" for each in databases])
          for what in ("enqueue", "wake", "cancel")),
        _row(f"a look for work while {databases[0]['waiting']:,} wait",
             [f"{each['look_s'] * 1000:.2f} ms" for each in databases]),
        _row("a claim that finds nothing, at the same time",
             [f"{each['empty_claim_s'] * 1000:.2f} ms" for each in databases]),
    ]  # fmt: skip
    newline = "\n"
    return f"""\
## The queue

Operations a second through our own store code: claimed, then settled one by one with all that belongs to it (the retry
table, the event, the site's cluster, the next in line). Nothing is carried. One process, whose threads share one
interpreter; both databases sync every commit to the disk; PostgreSQL runs on the same machine.

| | {titles} |
|---|{"--:|" * len(databases)}
{newline.join(rows)}

![Operations a second]({PICTURE})
"""


def draw(result: Mapping[str, Any]) -> None:
    """Bars for each database, side by side."""
    ways = [(size, threads) for size in (1, result["batch"]) for threads in (1, 4)]
    names = [f"claims of {size}\n{threads} thread{'s' if threads > 1 else ''}" for size, threads in ways]
    pair = [
        (each["database"], [each["rates"][f"{size} x {threads}"] for size, threads in ways])
        for each in result["databases"]
    ]
    with picture(DOCS / PICTURE, 1, (7, 2.8)) as (axis,):
        paired_bars(axis, "operations claimed and settled a second (more is better)", names, pair)


def _row(name: str, values: list[str]) -> str:
    return f"| {name} | {' | '.join(values)} |"


def _worst(result: Mapping[str, Any], key: str) -> float:
    return max(each[key] for each in result["databases"])
