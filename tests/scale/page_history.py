"""The page's section on the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import Claim
from picture import paired_bars, picture
from record import DOCS

PICTURE = "images/bench-history.svg"


def claims(result: Mapping[str, Any]) -> list[Claim]:
    """Any question in milliseconds; pruning without stopping."""
    databases = result["databases"]
    alone = max(_median([times["page_s"] for times in each["alone"].values()]) for each in databases)
    pairs = max(each["pages"]["median_s"] for each in databases)
    late = max(each["pages"]["p95_s"] for each in databases)
    worst = max(each["pruning"]["meanwhile"]["p99_s"] for each in databases)
    return [
        Claim("history", "a question with one filter, median, ms", 1000 * alone, 10),
        Claim("history", "a question with two filters, median, ms", 1000 * pairs, 20),
        Claim("history", "the same, 95 of 100, ms", 1000 * late, 200),
        Claim("history", "a write while history is pruned, 99 of 100, ms", 1000 * worst, 500),
    ]


def section(result: Mapping[str, Any]) -> str:
    """Tables of questions and of pruning, a column for each database."""
    databases = result["databases"]
    titles = " | ".join(each["database"] for each in databases)
    line = "|---|" + "--:|" * len(databases)
    questions = [
        _row(f"`{name}`" if name else "everything", [_ms(each["alone"][name]["page_s"]) for each in databases])
        for name in databases[0]["alone"]
    ]
    pairs = [
        _row(f"any two of these together, {word}", [_ms(each["pages"][key]) for each in databases])
        for word, key in (("median", "median_s"), ("95 of 100", "p95_s"))
    ]
    slowest = [
        _row(f"slowest pair: `{name}`", [_ms(seconds) if other is each else "" for other in databases])
        for each in databases
        for name, seconds in list(each["pages"]["slowest"].items())[:2]
    ]
    totals = [_row("the total of two together, median", [_ms(each["totals"]["median_s"]) for each in databases])]
    pruning = [
        _row(
            "removed", [f"{each['pruning']['operations']:,} in {each['pruning']['took_s']:.0f} s" for each in databases]
        ),
        *(
            _row(f"a write {title}, {word}", [_ms(each["pruning"][when][key]) for each in databases])
            for title, when in (("before", "before"), ("meanwhile", "meanwhile"))
            for word, key in (("median", "median_s"), ("99 of 100", "p99_s"), ("worst", "worst_s"))
        ),
    ]
    newline = "\n"
    return f"""\
## The history

`edgemgr operation list` asked of {result["operations"]:,} operations of {result["sites"]:,} sites: the newest fifty
that fulfil a filter. Two filters together are slow where each leads to many operations and both to few or none.

![How long a write takes]({PICTURE})

| | {titles} |
{line}
{newline.join([*questions, *pairs, *slowest, *totals])}

Half of it is removed, a hundred operations in a transaction and as long a pause after each, while another thread
submits, claims and settles operations; every one of these writes is timed.

| | {titles} |
{line}
{newline.join(pruning)}
"""


def draw(result: Mapping[str, Any]) -> None:
    """What pruning costs a writer: bars before and meanwhile, for each database."""
    bars = [(when, key) for key in ("median_s", "p99_s") for when in ("before", "meanwhile")]
    words = {"median_s": "median", "p99_s": "99 of 100", "before": "before", "meanwhile": "while history is pruned"}
    names = [f"{words[key]},\n{words[when]}" for when, key in bars]
    pair = [
        (each["database"], [1000 * each["pruning"][when][key] for when, key in bars]) for each in result["databases"]
    ]
    with picture(DOCS / PICTURE, 1, (7, 2.8)) as (axis,):
        paired_bars(axis, "milliseconds that a write takes (less is better)", names, pair)


def _row(title: str, cells: list[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
