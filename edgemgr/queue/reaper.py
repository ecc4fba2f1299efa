"""Taking back what silent workers held, and ending what waited past its deadline.

A worker of this machine whose process is gone is known to be dead at once; any other by its lease running out.
"""

from __future__ import annotations

import logging
import socket
from datetime import datetime

from edgemgr.errors import LeaseLostError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.identity import is_dead
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import attempts, operations, workers
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)


def reap(database: Database, *, now: datetime | None = None) -> int:
    """Settle every attempt that nobody holds any more as lost; returns how many."""
    now = now or utc_now()
    with database.read() as session:
        dead = [worker.id for worker in workers.running(session, host=socket.gethostname()) if is_dead(worker)]
        lost = attempts.overdue(session, now=now, dead_workers=dead)
    count = 0
    for attempt_id, worker_id in lost:
        why = "its process is gone" if worker_id in dead else "it fell silent"
        result = AttemptResult(
            Outcome.LOST, code="E-OP-LOST", message=f"worker {worker_id} was lost: {why}", hint="It is tried again."
        )
        try:
            settle_attempt(database, attempt_id, result, worker_id=worker_id, now=now)
        except LeaseLostError:
            continue  # settled in the meantime, by its worker or another reaper
        logger.warning("attempt %d: %s", attempt_id, result.message, extra={"action": "attempt_lost"})
        count += 1
    if dead:
        with database.write() as session:
            for worker_id in dead:
                workers.stop(session, worker_id, now=now)
    return count


def expire(database: Database, *, now: datetime | None = None) -> int:
    """End what waited past its deadline; returns how many."""
    with database.write() as session:
        return operations.expire(session, now=now or utc_now())
