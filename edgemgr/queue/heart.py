"""The heart of a worker: it beats, hears who is to stop, and takes back what dead workers held."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.event import Reason
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.identity import new_worker
from edgemgr.queue.lease import Lease
from edgemgr.queue.reaper import Reaper
from edgemgr.settings import Settings
from edgemgr.store import attempts, events, workers
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

#: How often a worker says that it lives and hears who is to stop, seconds; more often with a lease so short that
#: this would not be a sixth of it.
RENEW_S = 2.0

Settle = Callable[[Lease, int, AttemptResult], None]

STRAY = AttemptResult(
    Outcome.LOST,
    code="E-OP-RELEASED",
    message="the worker never learned that the claim succeeded",
    hint="It is tried again.",
    retry=Retry.FREE,
)


@dataclass
class Heart:
    """What one worker is to the others. `lease` is replaced by one under a new name if they give it up."""

    database: Database
    settings: Settings
    clock: QueueClock
    settle: Settle
    lease: Lease = field(init=False)
    _strays: set[int] = field(default_factory=set)
    _reaper: Reaper = field(init=False)

    def __post_init__(self) -> None:
        self._reaper = Reaper(self.database, self.settings, self.clock)

    @property
    def pause_s(self) -> float:
        """The time between two beats."""
        return min(RENEW_S, self.settings.lease_s / 6)

    def register(self) -> None:
        """Become known to the others.

        Raises:
            StoreError: the database cannot be used.
        """
        sent_at = self.clock.steady()
        worker = new_worker(self.settings.zones)
        with self.database.write() as session:
            workers.register(session, worker)
        self._strays = set()
        self.lease = Lease(worker.id, self.settings.lease_s, self.clock.steady, sent_at)
        logger.info("worker %s started", worker.id, extra={"action": "worker_started"})

    def beat(self) -> None:
        """Say that this worker lives, and look at what it holds and at the others.

        Raises:
            StoreError: the database cannot be used.
        """
        lease, sent_at = self.lease, self.clock.steady()
        with self.database.write() as session:
            is_ours = workers.beat(session, lease.worker_id, clock_jumps=self.clock.jumps, now=self.clock.now())
            server = workers.server_time(session)
        if not is_ours:
            lease.is_lost = True
            logger.warning("worker %s was given up by the others", lease.worker_id, extra={"action": "lease_lost"})
            self.register()
            return
        lease.beaten_at = sent_at
        if moved := self.clock.read(server):
            self._tell_jump(moved.total_seconds(), lease)
        self._renew(lease)
        alike = [worker for worker in self._reaper.round(lease.worker_id) if worker.zones == self._zones]
        lease.is_first = bool(alike) and alike[0].id == lease.worker_id

    @property
    def _zones(self) -> str:
        return ",".join(sorted(self.settings.zones))

    def _renew(self, lease: Lease) -> None:
        known = list(lease.held)  # before the look: what is claimed meanwhile is not in it, and ours all the same
        with self.database.read() as session:
            found = attempts.held(session, lease.worker_id)
            lease.giving_way = attempts.outranked(session, lease.worker_id, now=self.clock.now())
        for attempt_id in known:
            # What is not ours any more must stop too: somebody else runs it.
            if attempt_id in lease.held:
                lease.held[attempt_id] = found.get(attempt_id, True)
        # A claim whose answer was lost on the way from the server: ours, says the database, and nobody runs it.
        unknown = found.keys() - lease.held.keys()
        for attempt_id in unknown & self._strays:
            self.settle(lease, attempt_id, STRAY)
        self._strays = set(unknown)

    def _tell_jump(self, by_s: float, lease: Lease) -> None:
        message = f"the time of day jumped by {by_s:+.0f} s, seen by worker {lease.worker_id}"
        logger.warning("%s", message, extra={"action": "clock_jumped"})
        if lease.is_first:
            with self.database.write() as session:
                events.record(session, Reason.CLOCK_JUMPED, message, actor="queue", warning=True)
