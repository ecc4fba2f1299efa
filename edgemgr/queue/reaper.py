"""Taking back what dead and silent workers held, and ending what waited past its deadline.

A worker whose process we could see, and which is gone, is known to be dead at once; any other by its silence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from edgemgr.errors import LeaseLostError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.event import Reason
from edgemgr.model.operation import WaitingFor
from edgemgr.model.worker import Worker
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.identity import is_dead, is_neighbour
from edgemgr.queue.lease import Silence
from edgemgr.queue.retry import CONTACT_PAUSE_S, FAILURE_PAUSE_S
from edgemgr.queue.settle import settle_attempt
from edgemgr.runner import workspace
from edgemgr.settings import Settings
from edgemgr.store import attempts, events, operations, overlong, workers
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)


@dataclass
class Reaper:
    """One worker's look at the others."""

    database: Database
    settings: Settings
    clock: QueueClock
    _silence: Silence = field(init=False)

    def __post_init__(self) -> None:
        self._silence = Silence(self.settings.lease_s)

    def round(self, own_id: str) -> Sequence[Worker]:
        """Give up who is gone, and settle what they held as lost; returns the workers that live, oldest first.

        To be called after each own beat that was stored.

        Raises:
            StoreError: the database cannot be used; the next round goes on where this one stopped.
        """
        with self.database.read() as session:
            running = workers.running(session)
        others = [worker for worker in running if worker.id != own_id]
        silent = self._silence.listen({worker.id: worker.beats for worker in others}, self.clock.steady())
        is_local = self.database.dialect == "sqlite"
        gone = {worker.id for worker in others if worker.id in silent or is_dead(worker, is_local=is_local)}
        for worker in others:
            if worker.id in gone:
                self._give_up(worker, "it fell silent" if worker.id in silent else "its process is gone")
        self._take_back()
        return [worker for worker in running if worker.id not in gone]

    def _give_up(self, worker: Worker, why: str) -> None:
        if is_neighbour(worker):
            workspace.sweep(self.settings)  # before its sites are free again: its ansible processes may live on
        message = f"worker {worker.id} was given up: {why}"
        with self.database.write() as session:
            if not workers.give_up(session, worker.id, beats=worker.beats, now=self.clock.now()):
                return
            events.record(session, Reason.WORKER_LOST, message, actor="queue", warning=True)
        logger.warning("%s", message, extra={"action": "worker_lost"})

    def _take_back(self) -> None:
        with self.database.read() as session:
            lost = attempts.abandoned(session)
        for attempt_id, worker_id in lost:
            message = f"worker {worker_id} was lost"
            result = AttemptResult(Outcome.LOST, code="E-OP-LOST", message=message, hint="It is tried again.")
            try:
                settle_attempt(self.database, attempt_id, result, worker_id=worker_id, now=self.clock.now())
            except LeaseLostError:
                continue  # settled in the meantime, by its worker or another reaper
            logger.warning("attempt %d: %s", attempt_id, message, extra={"action": "attempt_lost"})


def expire(database: Database, clock: QueueClock) -> int:
    """End what waited past its deadline, as far as the clock can be believed; returns how many."""
    moment = clock.passed_for_certain()
    if moment is None:
        return 0
    with database.write() as session:
        return operations.expire(session, now=moment)


def clip_pauses(database: Database, clock: QueueClock) -> int:
    """Shorten pauses that a clock which was wrong has made too long; returns how many.

    A pause begins when it is decided upon, so none may end later than its longest from now. How long it was meant to be
    nobody knows any more: it becomes a first pause, since a longest one would keep people waiting for no reason.
    """
    now, count = clock.now(), 0
    with database.write() as session:
        for waiting_for, (first_s, longest_s) in _PAUSES.items():
            latest, instead = now + timedelta(seconds=longest_s), now + timedelta(seconds=first_s)
            count += overlong.clip(session, waiting_for, latest=latest, instead=instead)
    return count


_PAUSES = {WaitingFor.CONTACT: CONTACT_PAUSE_S, WaitingFor.BACKOFF: FAILURE_PAUSE_S}
