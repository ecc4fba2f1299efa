"""What one worker does for all that serve the same zones: watching, deadlines, pauses, history, backups, care.

And every one: logs, and backups of sites that were removed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from edgemgr.errors import StoreError
from edgemgr.inventory.backup_faults import BackupStoreError
from edgemgr.inventory.backup_removed import drop_expired, set_aside_removed
from edgemgr.queue import reaper, renewal_rounds
from edgemgr.queue.backup_rounds import ROUND_S, ask_for_backups
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.heart import Heart
from edgemgr.queue.log_sweep import LogSweep
from edgemgr.queue.retention import Retention
from edgemgr.queue.watch import Watch
from edgemgr.settings import Settings
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

#: How often it looks for what is due, seconds.
LOOK_S = 0.5
#: How often it takes in which sites have answered: they wait for nothing else.
TAKE_IN_S = 0.1
#: How often the backups of removed sites are looked for, seconds.
STORE_SWEEP_S = 3600.0


@dataclass
class Duties:
    """The rounds of the first worker. Another worker takes over when it is gone: each looks by itself.

    `woke` is set when a site is back for which something waits.
    """

    database: Database
    settings: Settings
    clock: QueueClock
    heart: Heart
    woke: threading.Event = field(default_factory=threading.Event)

    def run(self, ended: threading.Event) -> None:
        """Do what is due, as long as this worker is the first, until the event is set."""
        watch = Watch(self.database, self.settings)

        def tell(woken: int) -> None:
            if woken:
                self.woke.set()

        retention = Retention(self.database, self.settings, self.clock)
        logs = LogSweep(self.database, self.settings.log_dir)  # of this machine, which may have no first worker
        rounds: Sequence[tuple[Every, Callable[[], object]]] = (
            (Every(TAKE_IN_S), lambda: tell(watch.take_in(self.clock.now()))),
            (Every(LOOK_S), lambda: tell(watch.round(self.clock.now()))),
            (Every(10.0), lambda: watch.refresh(self.clock.now())),
            (Every(10.0), lambda: reaper.expire(self.database, self.clock)),
            (Every(10.0), lambda: reaper.clip_pauses(self.database, self.clock)),
            (Every(4.0), retention.turn),
            (Every(ROUND_S), lambda: ask_for_backups(self.database, self.settings, self.clock.now())),
            (
                Every(renewal_rounds.ROUND_S),
                lambda: renewal_rounds.ask_for_renewals(self.database, self.settings, self.clock.now()),
            ),
        )
        every_log_sweep, every_store_sweep = Every(2.0), Every(STORE_SWEEP_S)
        while not ended.wait(TAKE_IN_S):
            if every_log_sweep.is_due():
                _safely(logs.turn)
            if every_store_sweep.is_due():
                _safely(self._sweep_stores)
            for every, turn in rounds:
                if self.heart.lease.is_first and every.is_due():
                    _safely(turn)

    def _sweep_stores(self) -> None:
        """Backups of sites that were removed, on this machine: set aside, and gone when their time is over."""
        try:
            set_aside_removed(self.database, self.settings.backup_dir)
            now = self.clock.passed_for_certain()
            if now is not None:
                drop_expired(self.settings.backup_dir, timedelta(seconds=self.settings.backup_max_age_s), now)
        except BackupStoreError as exc:
            logger.warning("%s", exc.message)


def _safely(turn: Callable[[], object]) -> None:
    try:
        turn()
    except StoreError as exc:
        logger.error("%s", exc.message)  # noqa: TRY400 - its cause is in the message
    except Exception:
        logger.exception("a round failed in an unforeseen way")


class Every:
    """Says when a time span has passed, by a clock that nobody can set."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether it has; counts anew from then."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._span_s
        return True
