"""The screen of `edgemgr queue status`: plain text that fits 80 columns, drawn once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from edgemgr.cli.duration import length_text
from edgemgr.cli.output import Output, age, emit_one
from edgemgr.cli.table import print_table
from edgemgr.store.queue_status import QueueStatus, Rate, Waiting

_CLEAR = "\x1b[H\x1b[J"
_WAITING = {
    "turn": "a worker",
    "contact": "contact with the site",
    "backoff": "the next try",
    "resume": "queue resume",
}
#: Lines of workers, limits and reasons that are shown; the rest is counted.
SHOWN = 8


def print_screen(status: QueueStatus, output: Output) -> None:
    """Print it once, as text or as one object."""
    if output is not Output.TABLE:
        emit_one(status, (), output, kind="QueueStatus", name=lambda _: "queue")
        return
    _running(status)
    _waiting(status)
    _rates(status)


def watch_screen(look: Callable[[], QueueStatus], *, every_s: float) -> None:
    """Draw it again and again until interrupted; on a terminal always in the same place."""
    while True:
        status = look()
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        print_screen(status, Output.TABLE)
        sys.stdout.flush()
        time.sleep(every_s)


def _running(status: QueueStatus) -> None:
    kinds = ", ".join(f"{number} {kind}" for kind, number in status.running_by_kind.items())
    most = next((use.most for use in status.limits if use.scope == "all"), None)
    _line(f"RUNNING  {status.running} of at most {most}" + (f": {kinds}" if kinds else ""))
    if status.workers:
        _table(
            ["worker", "zones", "runs", "oldest"],
            [
                [load.worker_id, ",".join(load.zones) or "all", str(load.running), age(load.oldest_at, status.at)]
                for load in status.workers
            ],
        )
    else:
        _line("no worker runs: start `edgemgr serve` or `edgemgr worker`")
    if status.oldest_running:
        _line("")
        print_table(
            ["oldest", "site", "kind", "for", "worker"],
            [
                [str(item.operation_id), item.site, item.kind, age(item.started_at, status.at), item.worker_id]
                for item in status.oldest_running
            ],
        )


def _waiting(status: QueueStatus) -> None:
    _line("")
    behind = f", {status.behind} of them behind another of their site" if status.behind else ""
    _line(f"WAITING  {status.queued}{behind}")
    if status.waiting:
        _table(
            ["for", "sites", "oldest", "next", "detail"],
            [
                [
                    _reason(item),
                    str(item.sites),
                    age(item.oldest_at, status.at),
                    _ahead(item.next_at, status.at),
                    status.detail_of(item),
                ]
                for item in status.waiting
            ],
        )
    if status.due_within_day:
        _line(f"{status.due_within_day} expire within 24 h: `edgemgr operation list --due-before 24h`")


def _rates(status: QueueStatus) -> None:
    _line("")
    print_table(
        ["ended a minute", *(f"last {length_text(rate.span_s)}" for rate in status.rates)],
        [[word, *(f"{count(rate) * 60 / rate.span_s:.1f}" for rate in status.rates)] for word, count in _COUNTS],
    )
    if status.empty_in_s is not None and status.queued:
        _line(f"empty in about {length_text(status.empty_in_s)}, if nothing holds up what waits")


_COUNTS: tuple[tuple[str, Callable[[Rate], int]], ...] = (
    ("succeeded", lambda rate: rate.succeeded),
    ("failed", lambda rate: rate.failed),
    ("canceled", lambda rate: rate.canceled),
)


def _reason(item: Waiting) -> str:
    if item.reason == "limit":
        return f"limit {item.subject}"
    if item.reason == "zone":
        return f"a worker for {item.subject}"
    return _WAITING[item.reason]


def _ahead(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    return f"in {length_text((moment - now).total_seconds())}" if moment > now else "now"


def _table(titles: Sequence[str], rows: Sequence[list[str]]) -> None:
    print_table(titles, rows[:SHOWN])
    if len(rows) > SHOWN:
        _line(f"and {len(rows) - SHOWN} more")


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
