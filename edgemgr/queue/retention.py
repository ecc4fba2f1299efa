"""Keeping the history within bounds while the queue works: small transactions, a little at a time.

The age of a thing is judged only by a time of day that is beyond doubt (queue/clock.py): a clock that stands a year
ahead must not cost the history. In SQLite the room becomes free for new rows; the file does not shrink.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from edgemgr.model.event import Reason
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.clock import QueueClock, since_boot
from edgemgr.settings import Settings
from edgemgr.store import events, retention
from edgemgr.store.database import Database
from edgemgr.store.retention import Kept, OldEvents, Prunable

#: From the beginning of one pass over the whole history to that of the next, seconds.
PASS_EVERY_S = 3600.0
#: How long a turn goes on taking small steps, seconds.
TURN_S = 0.1
#: Rows of one transaction: a writer who comes just then waits some tens of milliseconds.
ROWS = 100
#: Sites that are looked at together, and events.
SITES = 20
EVENTS = 1000
#: A removal is recorded at most so often.
TELL_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Pruned:
    """What a step removed, or would."""

    operations: int = 0
    events: int = 0
    sites: int = 0  #: sites that are done with

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.operations + other.operations, self.events + other.events, self.sites + other.sites)

    @property
    def rows(self) -> int:
        """Operations and events together."""
        return self.operations + self.events


def prune(database: Database, kept: Kept) -> Iterator[Pruned]:
    """One pass over the whole history, step by step; each is one short transaction, and may be the last.

    Raises:
        StoreError: the database cannot be used now. What was removed until then stays removed.
    """
    for sites, found in _by_sites(database, kept):
        for part in _parts(found.operations):
            with database.write() as session:
                step = Pruned(*retention.delete_operations(session, part))
            yield step
        yield from _remove_events(database, found.events)
        yield Pruned(sites=sites)
    for old in _old_events(database, kept):
        yield from _remove_events(database, old.ids)
        yield Pruned()


def plan(database: Database, kept: Kept) -> Iterator[Pruned]:
    """What `prune` would remove now, counted step by step.

    Raises:
        StoreError: the database cannot be used now.
    """
    going: set[int | None] = set()
    for sites, found in _by_sites(database, kept):
        with database.read() as session:
            along = sum(retention.events_of(session, part) for part in _parts(found.operations))
        going.update(found.operations)
        yield Pruned(len(found.operations), along + len(found.events), sites)
    for old in _old_events(database, kept):
        yield Pruned(events=sum(operation not in going for operation in old.operation_ids))


def _by_sites(database: Database, kept: Kept) -> Iterator[tuple[int, Prunable]]:
    last = 0
    while True:
        with database.read() as session:
            sites = retention.next_sites(session, last, SITES)
            found = retention.prunable(session, sites, kept)
        if not sites:
            return
        last = sites[-1]
        yield len(sites), found


def _old_events(database: Database, kept: Kept) -> Iterator[OldEvents]:
    last, has_more = 0, kept.since is not None
    while has_more and kept.since is not None:
        with database.read() as session:
            found = retention.old_events(session, after_id=last, before=kept.since, now=utc_now(), count=EVENTS)
        last, has_more = found.last_id, found.has_more
        yield found


def _remove_events(database: Database, ids: tuple[int, ...]) -> Iterator[Pruned]:
    for part in _parts(ids):
        with database.write() as session:
            step = Pruned(events=retention.delete_events(session, part))
        yield step


def _parts(ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [ids[start : start + ROWS] for start in range(0, len(ids), ROWS)]


def tell(database: Database, pruned: Pruned, *, actor: str) -> None:
    """Record that history was removed."""
    with database.write() as session:
        message = f"{pruned.operations} operations and {pruned.events} events were removed from the history"
        events.record(session, Reason.HISTORY_PRUNED, message, actor=actor)


@dataclass
class Retention:
    """The rounds of one worker; `turn` is called again and again and never takes long."""

    database: Database
    settings: Settings
    clock: QueueClock
    _steps: Iterator[Pruned] | None = None
    _next_at: float = field(default_factory=since_boot)
    _untold: Pruned = field(default_factory=Pruned)

    def turn(self) -> int:
        """Go on with the pass that is under way, for a moment; returns how many rows were removed.

        Raises:
            StoreError: the database cannot be used now; this pass ends, the next one comes in its time.
        """
        if self._steps is None:
            if self.clock.steady() < self._next_at:
                return 0
            self._next_at = self.clock.steady() + PASS_EVERY_S
            self._steps = prune(self.database, self._kept())
        removed = 0
        until = time.monotonic() + TURN_S
        for step in self._steps:
            removed += step.rows
            self._untold += step
            if not step.rows or time.monotonic() >= until:  # a look that finds nothing is enough for this turn
                return removed
        self._steps = None
        self._tell()
        return removed

    def _kept(self) -> Kept:
        certain = self.clock.passed_for_certain()
        since = certain - timedelta(days=self.settings.history_days) if certain is not None else None
        return Kept(self.settings.history_per_site, since)

    def _tell(self) -> None:
        if not self._untold.rows:
            return
        with self.database.read() as session:
            told_at = retention.last_told(session)
        if told_at is None or abs(self.clock.now() - told_at) >= TELL_EVERY:
            tell(self.database, self._untold, actor="queue")
            self._untold = Pruned()
