"""The worker: claims what is ready, carries it in threads, keeps its leases, and takes back what others lost."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgemgr.errors import LeaseLostError, StoreError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.timestamp import utc_now
from edgemgr.queue import reaper
from edgemgr.queue.identity import new_worker
from edgemgr.queue.settle import settle_attempt
from edgemgr.queue.watch import Watch
from edgemgr.queue.work import Carrier, internal_fault
from edgemgr.runner import workspace
from edgemgr.settings import Settings
from edgemgr.store import attempts, workers
from edgemgr.store.claim import Claimed, anything_ready, claim
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

logger = logging.getLogger(__name__)

#: How often a worker looks for work, seconds. A look is one indexed read.
POLL_S = 0.5
#: How often a worker that holds attempts renews its leases and hears who is to stop, seconds.
RENEW_S = 2.0
#: How often it looks for attempts that nobody holds any more, seconds.
REAP_S = 2.0
#: Batches that one worker carries at the same time: a stuck one must not stop the next.
MAX_BATCHES = 4


@dataclass
class QueueWorker:
    """One worker of this process. `run` blocks until `stop` is set and everything under way has ended."""

    database: Database
    vault: Vault
    settings: Settings
    stop: threading.Event
    worker_id: str = ""
    _held: dict[int, bool] = field(default_factory=dict)  #: attempt → asked to stop; what we hold by the last renewal
    _batches: dict[str, threading.Thread] = field(default_factory=dict)

    def run(self) -> None:
        """Work until told to stop.

        Raises:
            StoreError: the database could not be used at the start. Later failures are waited out.
        """
        worker = new_worker()
        self.worker_id = worker.id
        workspace.sweep(self.settings)
        with self.database.write() as session:
            workers.register(session, worker)
        logger.info("worker %s started", self.worker_id, extra={"action": "worker_started"})
        watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        watcher.start()
        renew, beat, reap = _Every(RENEW_S), _Every(self.settings.lease_s / 3), _Every(REAP_S)
        while not self.stop.wait(POLL_S) or self._batches:
            try:
                if self._held and renew.is_due():
                    self._renew()
                if beat.is_due():
                    self._beat()
                if reap.is_due():
                    reaper.reap(self.database)
                    reaper.expire(self.database)
                if not self.stop.is_set():
                    self._claim()
            except StoreError as exc:  # a full disk or a database that restarts: go on when it is back
                logger.error("%s (%s) %s", exc.message, exc.code, exc.hint)  # noqa: TRY400 - its cause is in the message
                self.stop.wait(POLL_S)
            self._batches = {name: thread for name, thread in self._batches.items() if thread.is_alive()}
        watcher.join(timeout=10)
        with self.database.write() as session:
            workers.stop(session, self.worker_id, now=utc_now())
        logger.info("worker %s stopped", self.worker_id, extra={"action": "worker_stopped"})

    def _claim(self) -> None:
        while len(self._batches) < MAX_BATCHES:
            with self.database.read() as session:
                if not anything_ready(session, utc_now()):
                    return
            name = f"b{secrets.token_hex(4)}"
            with self.database.write() as session:
                claimed = claim(
                    session,
                    worker_id=self.worker_id,
                    batch=name,
                    limit=self.settings.batch_size,
                    lease_s=self.settings.lease_s,
                    now=utc_now(),
                )
            if not claimed:
                return
            self._held |= {item.attempt.id or 0: False for item in claimed}
            thread = threading.Thread(target=self._carry, args=(name, claimed), name=name)
            self._batches[name] = thread
            thread.start()

    def _carry(self, name: str, claimed: Sequence[Claimed]) -> None:
        carrier = Carrier(self.database, self.vault, self.settings, settle=self._settle, is_canceled=self._is_canceled)
        try:
            carrier.carry(name, claimed)
        except Exception:
            logger.exception("batch %s failed in an unforeseen way", name)
        for item in claimed:
            if item.attempt.id in self._held:
                self._settle(item.attempt.id, internal_fault("the batch ended without a result for this site"))

    def _settle(self, attempt_id: int, result: AttemptResult) -> None:
        """Write a result, patiently: it is worth more than the seconds that a full disk takes to mend."""
        if result.outcome is Outcome.CANCELED and self.stop.is_set() and not self._held.get(attempt_id, False):
            # Nobody canceled the operation: this worker is being stopped, and another one takes it up.
            result = AttemptResult(Outcome.LOST, code="E-OP-RELEASED", message="the worker was stopped")
        for pause in (1.0, 2.0, 5.0, 10.0, 0.0):
            try:
                settle_attempt(self.database, attempt_id, result, worker_id=self.worker_id)
            except LeaseLostError as exc:
                logger.warning("%s", exc.message, extra={"action": "lease_lost"})
            except StoreError as exc:
                logger.error("attempt %d: %s", attempt_id, exc.message)  # noqa: TRY400
                self.stop.wait(pause)
                continue
            break
        self._held.pop(attempt_id, None)

    def _renew(self) -> None:
        now = utc_now()
        with self.database.write() as session:
            held = attempts.renew(
                session, list(self._held), worker_id=self.worker_id, lease_s=self.settings.lease_s, now=now
            )
        for attempt_id in list(self._held):
            # What is not ours any more must stop too: somebody else runs it.
            self._held[attempt_id] = held.get(attempt_id, True)

    def _beat(self) -> None:
        with self.database.write() as session:
            workers.beat(session, self.worker_id, now=utc_now())

    def _is_canceled(self, attempt_id: int) -> bool:
        return self.stop.is_set() or self._held.get(attempt_id, True)

    def _watch(self) -> None:
        watch = Watch(self.database, self.settings)
        rounds: Sequence[tuple[_Every, Callable[[], int]]] = (
            (_Every(1.0), watch.round),
            (_Every(10.0), watch.refresh),
        )
        while not self.stop.wait(0.5):
            for every, turn in rounds:
                try:
                    if every.is_due():
                        turn()
                except StoreError as exc:
                    logger.error("%s", exc.message)  # noqa: TRY400
                except Exception:
                    logger.exception("the watch failed in an unforeseen way")


class _Every:
    """Says when a time span has passed, by a clock that nobody can set."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._next = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._span_s
        return True
