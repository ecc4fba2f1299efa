"""Workers without threads, whose hearts a test lets beat, and a database whose disk it fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgemgr.errors import StoreError
from edgemgr.model.worker import Worker
from edgemgr.queue.heart import Heart
from edgemgr.queue.results import Results
from edgemgr.settings import Settings
from edgemgr.store import workers
from edgemgr.store.claim import Claimed, claim
from edgemgr.store.database import Database, Session
from tests_support.hand_clock import Hands


class FillableDatabase(Database):
    """One that takes no write while its disk is full."""

    is_full = False

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may change data, if there is room."""
        if self.is_full:
            message = "no room left to write the database"
            raise StoreError(message, code="E-STORE-FULL")
        with super().write() as session:
            yield session


class Machine:
    """A worker of a machine of its own, or of ours."""

    def __init__(self, database: Database, settings: Settings, hands: Hands | None = None) -> None:
        self.database = database
        self.hands = hands or Hands()
        self.clock = self.hands.clock()
        self.results = Results(database, settings, self.clock)
        self.heart = Heart(database, settings, self.clock, self.results.store)
        self.heart.register()

    @property
    def id(self) -> str:
        return self.heart.lease.worker_id

    def go_elsewhere(self, **identity: object) -> None:
        """Let its row say that it runs on another machine."""
        with self.database.write() as session:
            worker = session.get_one(Worker, self.id)
            for name, value in ({"boot_id": "another", "host": "elsewhere"} | identity).items():
                setattr(worker, name, value)

    def lose_process(self) -> None:
        """Let its row name a process that is gone."""
        with self.database.write() as session:
            session.get_one(Worker, self.id).pid_started = 1

    def take(self, limit: int = 50, *, learns_it: bool = True) -> list[Claimed]:
        """Claim, as the worker does; it may never learn that the server stored it."""
        with self.database.write() as session:
            if not workers.may_claim(session, self.id):
                return []
            claimed = claim(
                session,
                worker_id=self.id,
                zones=(),
                batch="b",
                limit=limit,
                max_running=1000,
                now=self.clock.now(),
            )
        if learns_it:
            self.heart.lease.held.update({item.attempt.id or 0: False for item in claimed})
        return claimed
