"""The history: every question of `edgemgr operation list`, and pruning half of it while others write. Both databases.

Each question is asked of a million operations by itself and together with every other; PostgreSQL has gathered its
statistics. While history is removed a writer submits, claims and settles as the queue does; its waits are compared
with those before.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from bench_queue import postgresql_database, sqlite_database
from progress import say
from sqlmodel import col, delete, func, select
from tests_support.history_questions import questions, singles
from tests_support.long_history import fill

from edgemgr.cli.database import YIELD_S
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.retention import Pruned, prune
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import operations
from edgemgr.store.claim import claim
from edgemgr.store.database import Database
from edgemgr.store.operation_search import TOTAL_MAX, count_operations, list_operations
from edgemgr.store.operations import NewOperation
from edgemgr.store.retention import Kept

PAGE = 50
REPEATS = 3
#: What a site keeps of each kind, so that half of the history goes: it has ninety looks of a hundred operations.
KEPT = 40
PAUSE_S = 0.01
BEFORE_S = 10.0


def measure(*, quick: bool) -> dict[str, Any]:
    """Both databases, one after the other."""
    count = 50_000 if quick else 1_000_000
    found = []
    with sqlite_database() as database:
        found.append({"database": "SQLite", **_measure(database, count)})
    with postgresql_database() as database:
        found.append({"database": "PostgreSQL", **_measure(database, count)})
    return {"operations": count, "sites": count // 100, "databases": found}


def _measure(database: Database, count: int) -> dict[str, Any]:
    last = utc_now()
    say(f"history: {count:,} operations, {database.dialect}")
    fill(database, operations=count, sites=count // 100, last=last)
    with database.read() as session:
        newest_id = session.exec(select(func.max(Operation.id))).one() or 0
    alone = list(singles(last, newest_id))
    asked: dict[str, dict[str, float]] = {}
    say("questions")
    for name, wanted in questions(last, newest_id):
        with database.read() as session:
            page_s = _best(lambda: list_operations(session, wanted, limit=PAGE))  # noqa: B023 - called at once
            total_s = _best(lambda: count_operations(session, wanted, most=TOTAL_MAX))  # noqa: B023 - the same
        asked[name] = {"page_s": page_s, "total_s": total_s}
    pairs = {name: times for name, times in asked.items() if name and name not in alone}
    return {
        "alone": {name: asked[name] for name in ("", *alone)},
        "pairs": len(pairs),
        "pages": _spread({name: times["page_s"] for name, times in pairs.items()}),
        "totals": _spread({name: times["total_s"] for name, times in pairs.items()}),
        "pruning": _prune(database),
    }


def _best(ask: Callable[[], object]) -> float:
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    return min(took)


def _spread(times: dict[str, float]) -> dict[str, Any]:
    ordered = sorted(times.values())
    slowest = sorted(times, key=lambda name: times[name])[-5:]
    return {
        "median_s": statistics.median(ordered),
        "p95_s": ordered[len(ordered) * 95 // 100],
        "slowest": {name: times[name] for name in reversed(slowest)},
    }


def _prune(database: Database) -> dict[str, Any]:
    say("pruning")
    with database.write() as session:  # what waits would be claimed in place of what the writer submits
        session.execute(delete(Operation).where(col(Operation.state) == "queued"))
    with _writer(database) as before:
        time.sleep(BEFORE_S)
    pruned, began = Pruned(), time.monotonic()
    with _writer(database) as meanwhile:
        step_began = time.monotonic()
        for step in prune(database, Kept(KEPT, None)):
            pruned += step
            time.sleep(min(time.monotonic() - step_began, YIELD_S) if step.rows else 0)
            step_began = time.monotonic()
    return {
        "operations": pruned.operations,
        "events": pruned.events,
        "took_s": time.monotonic() - began,
        "before": _waits(before),
        "meanwhile": _waits(meanwhile),
    }


def _waits(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "writes": len(ordered),
        "median_s": statistics.median(ordered),
        "p99_s": ordered[len(ordered) * 99 // 100],
        "worst_s": ordered[-1],
    }


@contextmanager
def _writer(database: Database) -> Iterator[list[float]]:
    """Somebody who submits, claims and settles one operation after the other; the times of each transaction."""
    times: list[float] = []
    done = threading.Event()
    thread = threading.Thread(target=_write, args=(database, done, times))
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join(timeout=60)


def _write(database: Database, done: threading.Event, times: list[float]) -> None:
    number = 0
    while not done.wait(PAUSE_S):
        number += 1
        site = number % 500 + 1
        new = NewOperation(site, f"store-{site}", OperationKind.VERIFY, {}, "k", Priority.INTERACTIVE, max_attempts=3)
        now = utc_now()
        began = time.perf_counter()
        with database.write() as session:
            deadline = now + timedelta(days=1)
            operations.submit(session, [new], request=f"w-{number}", actor="bench", deadline_at=deadline, now=now)
        submitted = time.perf_counter()
        with database.write() as session:
            taken = claim(session, worker_id="w", batch="b", limit=1, now=now, max_running=1000, zones=())
        claimed = time.perf_counter()
        for item in taken:
            settle_attempt(database, item.attempt.id or 0, AttemptResult(Outcome.SUCCEEDED), worker_id="w", now=now)
        times += [submitted - began, claimed - submitted, time.perf_counter() - claimed]
