"""docs/benchmarks.md: a head, the table of claims, and a section for each part that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from claim import Claim
from record import DOCS

PAGE = DOCS / "benchmarks.md"
#: The parts in the order of the page. `page_PART` has `section(result)`, `claims(result)` and `draw(result)`.
PARTS = ("bootstrap", "stage", "probe", "queue", "history", "idle", "served", "neighbours", "flapping")

_HEAD = """\
# Benchmarks

What edgemgr costs and how fast it is, on one small machine that also carries the sites. This page, its pictures and
`benchmarks.json` beside it, which holds the numbers, are written by `make bench` (as root or with sudo); no number here
is typed by hand. `make bench PARTS="probe idle"` runs only these parts and leaves the others' results as they are;
`make bench PARTS=queue QUICK=1` is a trial that takes less than a minute a part and only prints.

Every claim is a ratio or a bound that was measured in one run. Times waver by a tenth or two between runs, more where
others work on the machine; ratios within a run hold better.
"""


def render(record: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page as text."""
    chosen = [part for part in PARTS if part in record]
    claims: list[Claim] = []
    sections = []
    for part in chosen:
        page = import_module(f"page_{part}")
        result = record[part]["result"]
        claims += page.claims(result)
        sections.append(f"{page.section(result).strip()}\n\n{_measured_on(record[part])}")
    rows = "\n".join(claim.row() for claim in claims)
    table = f"| part | claim | wanted | measured | kept |\n|---|---|--:|--:|---|\n{rows}\n"
    return "\n".join([_HEAD, "## Claims\n", table, *[f"{section}\n" for section in sections]]).rstrip() + "\n"


def write(record: Mapping[str, Mapping[str, Any]], drawn: str) -> None:
    """Write the page, and the picture of one part."""
    import_module(f"page_{drawn}").draw(record[drawn]["result"])
    PAGE.write_text(render(record))


def _measured_on(entry: Mapping[str, Any]) -> str:
    machine = entry["machine"]
    return f"""\
Measured {machine["at"]} in {entry["took_s"] / 60:.0f} min, load average at the start {machine["load"]}:

- {machine["hardware"]}
- {machine["programs"]}, edgemgr {machine["edgemgr"]}"""
