"""The queue: how many operations a second our own store code claims and settles, on both databases.

Nothing is carried: a claimed operation succeeds at once. One process, whose threads share one interpreter, as those
of `edgemgr serve` do. PostgreSQL on the same machine, with fsync, as SQLite has it.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from progress import say
from queue_fill import enqueue, let_all_wait, make_sites
from sqlmodel import col, select
from tests_support.postgresql import PostgresServer, find_postgresql

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import operations, schema
from edgemgr.store.claim import anything_ready, claim
from edgemgr.store.database import Database

PLACE = "/var/tmp"  # noqa: S108 - a disk, where /tmp is often memory
BATCH = 50
THREADS = (1, 4)
UNLIMITED = 1_000_000
POLLS = 200


def measure(*, quick: bool) -> dict[str, Any]:
    """Both databases, one after the other."""
    sites = 500 if quick else 10_000
    singles, batched = (50, 200) if quick else (1_000, 3_000)
    found = []
    with sqlite_database() as database:
        found.append({"database": "SQLite", **_measure(database, sites, singles, batched)})
    with postgresql_database() as database:
        found.append({"database": "PostgreSQL", **_measure(database, sites, singles, batched)})
    return {"sites": sites, "batch": BATCH, "databases": found}


@contextmanager
def sqlite_database() -> Iterator[Database]:
    """An empty one on a disk."""
    directory = Path(tempfile.mkdtemp(prefix="edgemgr-bench-", dir=PLACE))
    database = Database(f"sqlite:///{directory / 'edgemgr.db'}")
    try:
        schema.upgrade(database)
        yield database
    finally:
        database.close()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgresql_database() -> Iterator[Database]:
    """An empty one of a server of our own, which syncs what it commits."""
    server = PostgresServer(find_postgresql())
    server.start(is_durable=True)
    try:
        database = Database(server.new_database())
        try:
            schema.upgrade(database)
            yield database
        finally:
            database.close()
    finally:
        server.stop()


def _measure(database: Database, sites: int, singles: int, batched: int) -> dict[str, Any]:
    name = database.dialect
    ids = make_sites(database, sites)
    rates = {}
    for size, count in ((1, singles), (BATCH, batched)):
        for threads in THREADS:
            chosen = ids[:count]
            enqueue(database, chosen)
            rates[f"{size} x {threads}"] = len(chosen) / _timed(partial(_drain, database, size, threads))
            say(f"{name}: claims of {size}, {threads} threads: {rates[f'{size} x {threads}']:.0f} operations/s")
    enqueue_s = _timed(partial(enqueue, database, ids))
    let_all_wait(database)
    wake_s = _timed(partial(_wake, database, ids))
    with database.read() as session:
        opened = [number or 0 for number in session.exec(select(Operation.id).where(Operation.state == "queued"))]
    cancel_s = _timed(partial(_cancel, database, opened))
    ids += make_sites(database, sites // 4, first=sites)
    for kind in OperationKind:
        enqueue(database, ids, kind)
    let_all_wait(database)
    found = {
        "rates": rates,
        "bulk": {"enqueue": enqueue_s, "wake": wake_s, "cancel": cancel_s},
        "waiting": len(ids) * len(OperationKind),
        "look_s": statistics.median(_timed(partial(_look, database)) for _ in range(POLLS)),
        "empty_claim_s": statistics.median(_timed(partial(_claim, database, "bench", BATCH)) for _ in range(POLLS)),
    }
    say(f"{name}: " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in found["bulk"].items()))
    say(f"{name}: a look {found['look_s'] * 1000:.2f} ms, an empty claim {found['empty_claim_s'] * 1000:.2f} ms")
    return found


def _timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _claim(database: Database, worker_id: str, size: int) -> list[int]:
    with database.write() as session:
        found = claim(
            session,
            worker_id=worker_id,
            zones=(),
            batch="bench",
            limit=size,
            max_running=UNLIMITED,
            now=utc_now(),
        )
        return [item.attempt.id or 0 for item in found]


def _look(database: Database) -> None:
    with database.read() as session:
        assert not anything_ready(session, utc_now())


def _drain(database: Database, size: int, threads: int) -> None:
    """Claim and settle until nothing is left, each thread as a worker of its own."""

    def work(worker_id: str) -> None:
        while claimed := _claim(database, worker_id, size):
            for attempt_id in claimed:
                settle_attempt(database, attempt_id, AttemptResult(Outcome.SUCCEEDED), worker_id=worker_id)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [f"bench-{number}" for number in range(threads)]))
    with database.read() as session:
        states = [state.value for state in OPEN_STATES]
        left = session.exec(select(Operation.id).where(col(Operation.state).in_(states)).limit(1)).first()
    assert left is None, "the queue was not empty in the end"


def _wake(database: Database, site_ids: list[int]) -> None:
    with database.write() as session:
        assert operations.wake(session, site_ids, now=utc_now()) == len(site_ids)


def _cancel(database: Database, operation_ids: list[int]) -> None:
    with database.write() as session:
        canceled = operations.cancel(session, operation_ids, actor="bench", now=utc_now())
    assert canceled == (len(operation_ids), 0)
