"""Results on their way into the database. None is dropped: what cannot be stored now is kept and tried again."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace

from edgemgr.errors import LeaseLostError, Retry, StoreError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.fault import internal_fault
from edgemgr.queue.lease import Lease
from edgemgr.queue.room import no_room
from edgemgr.queue.settle import settle_attempt
from edgemgr.settings import Settings
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

RELEASED = AttemptResult(
    Outcome.LOST, code="E-OP-RELEASED", message="its worker let go of it", hint="It is tried again.", retry=Retry.FREE
)


@dataclass
class Results:
    """What one worker has found out and not stored yet."""

    database: Database
    settings: Settings
    clock: QueueClock
    _owed: dict[int, tuple[Lease, AttemptResult]] = field(default_factory=dict)
    _is_blocked: bool = False  #: the database took no write the last time: threads leave theirs to the next turn
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._owed)

    def store(self, lease: Lease, attempt_id: int, result: AttemptResult) -> None:
        """Write a result, now or as soon as that is possible; returns soon, from any thread."""
        self._owed[attempt_id] = (lease, self._read(lease, attempt_id, result))
        if not self._is_blocked:
            self._try(attempt_id)

    def turn(self) -> None:
        """Try again to store what is owed; stops at the first that cannot be stored."""
        for attempt_id in list(self._owed):
            if not self._try(attempt_id):
                return

    def _read(self, lease: Lease, attempt_id: int, result: AttemptResult) -> AttemptResult:
        if result.outcome is Outcome.CANCELED and not lease.held.get(attempt_id, False):
            return RELEASED  # nobody canceled the operation: this worker is being stopped, or was in doubt
        if result.outcome in (Outcome.FAILED, Outcome.TIMED_OUT) and no_room(self.settings) is not None:
            return replace(result, retry=Retry.FREE)  # our own full disk is not held against the site
        return result

    def _try(self, attempt_id: int) -> bool:
        with self._guard:
            owed = self._owed.pop(attempt_id, None)
        if owed is None:
            return True  # another thread was quicker
        lease, result = owed
        try:
            settle_attempt(self.database, attempt_id, result, worker_id=lease.worker_id, now=self.clock.now())
        except LeaseLostError as exc:
            logger.warning("%s", exc.message, extra={"action": "lease_lost"})
        except StoreError as exc:
            if not self._is_blocked:
                logger.error("attempt %d: %s; its result is kept", attempt_id, exc.message)  # noqa: TRY400
            self._owed[attempt_id] = owed
            self._is_blocked = True
            return False
        except Exception:
            logger.exception("attempt %d: its result was not stored", attempt_id)
            self._owed[attempt_id] = (lease, internal_fault("its result could not be stored as it was"))
            return False
        self._is_blocked = False
        lease.held.pop(attempt_id, None)
        return True
