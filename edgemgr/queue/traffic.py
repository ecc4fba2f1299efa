"""Traffic: the bandwidth limits and transfer windows that hold now, for all transfers of this process.

Limits are counted by each process: two machines with a worker each send twice as much as one.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from edgemgr.links.throttle import Bandwidth, Throttle
from edgemgr.model.transfer_scope import SiteParts, scope_of
from edgemgr.model.window import Window, all_open_at
from edgemgr.store import stages, transfer_rules
from edgemgr.store.database import Database, Session

#: How old the rules may be, seconds: a change holds after this time for transfers that run.
REFRESH_S = 5.0


class Traffic:
    """One for each database in a process; any thread may ask."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = weakref.ref(database)
        self._clock = clock
        self._bandwidth = Bandwidth()
        self._parts: set[str] = set()
        self._limits: Mapping[str, int] = {}
        self.windows: Mapping[str, Window] = {}
        self._read_at: float | None = None
        self._guard = threading.Lock()

    def of_site(self, parts: SiteParts) -> SiteTraffic:
        """What holds for one site, now and as it changes."""
        with self._guard:
            self._parts.update(parts.names)
            self._apply()
        self.refresh()
        return SiteTraffic(self, parts, self._bandwidth.throttle(parts.names))

    def refresh(self) -> None:
        """Read the rules anew when they are due.

        Raises:
            StoreError: the database cannot be used; what was known before holds on.
        """
        with self._guard:
            database = self._database()
            if database is None or (self._read_at is not None and self._clock() - self._read_at < REFRESH_S):
                return
            with database.read() as session:
                self._limits, self.windows = transfer_rules.limits(session), transfer_rules.windows(session)
            self._read_at = self._clock()
            self._apply()

    def hold_back(self, session: Session, now: datetime) -> int:
        """Let those that are first in line wait whose windows are closed; returns how many."""
        return stages.hold_back(session, lambda parts: self.opens_at(parts, now), now=now)

    def opens_at(self, parts: SiteParts, now: datetime) -> datetime:
        """The moment itself, or else the next at which a site may be sent bytes."""
        return all_open_at([self.windows[scope] for scope in parts.windows(self.windows)], now)

    def _apply(self) -> None:
        for part in self._parts:
            scope = scope_of(part, self._limits)
            self._bandwidth.set_rate(part, None if scope is None else float(self._limits[scope]))


@dataclass(frozen=True)
class SiteTraffic:
    """Limits and windows of one site."""

    _traffic: Traffic
    _parts: SiteParts
    throttle: Throttle

    def is_open(self, now: datetime) -> bool:
        """Whether the site may be sent bytes now."""
        return self.opens_at(now) == now

    def opens_at(self, now: datetime) -> datetime:
        """The moment itself, or else the next at which the site may be sent bytes."""
        return self._traffic.opens_at(self._parts, now)


_known: weakref.WeakKeyDictionary[Database, Traffic] = weakref.WeakKeyDictionary()
_known_guard = threading.Lock()


def traffic_of(database: Database) -> Traffic:
    """The one of this database: all workers of a process share its limits."""
    with _known_guard:
        return _known.setdefault(database, Traffic(database))
