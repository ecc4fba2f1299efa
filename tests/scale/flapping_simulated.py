"""A flapping fleet on a clock of its own: the real store, claim, settle, retry and watch.

Links and the carrying of sites are played; an hour passes in a few minutes.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from flapping_carrying import Carried, Carrying, Forks
from flapping_link import Link
from flapping_played import Played
from sqlmodel import select

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.site import Site
from edgemgr.queue.duties import LOOK_S, TAKE_IN_S
from edgemgr.queue.settle import settle_attempt
from edgemgr.queue.watch import PROBE_TIMEOUT_S, Watch
from edgemgr.queue.worker import GATHER_S, POLL_S, hands_are_full
from edgemgr.settings import Settings
from edgemgr.store.claim import anything_ready, claim
from edgemgr.store.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = "simulated"
DONE = AttemptResult(Outcome.SUCCEEDED)
UNREACHABLE = AttemptResult(Outcome.UNREACHABLE, code="E-SITE-NO-ANSWER", message="the link is down")


class SimulatedFleet:
    """Runs until every site is done. `links`: site → its link."""

    def __init__(self, database: Database, settings: Settings, links: Mapping[int, Link], carrying: Carrying) -> None:
        self.now_s = 0.0
        self.done_s: dict[int, float] = {}
        self.attempts = 0
        self._database = database
        self._settings = settings
        self._count = len(links)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._forks = Forks(self, links, carrying)
        self._claims: list[Carried] = []
        self._gathers_until = 0.0
        by_address = {site.address: links[site.id or 0] for site in _sites(database)}
        self._probing = Played(by_address, self._clock, PROBE_TIMEOUT_S)
        checking = Played(by_address, self._clock, settings.connect_timeout_s)
        self._watch = Watch(database, settings, probing=self._probing, checking=checking)

    def run(self, *, until_s: float) -> None:
        """Let time pass until all are done.

        Raises:
            AssertionError: some are not done at `until_s`: they were lost or stranded.
        """
        self.at(0.0, self._poll)
        self.at(0.0, self._look)
        self.at(0.0, self._take_in)
        while len(self.done_s) < self._count:
            self.now_s, _, action = heapq.heappop(self._agenda)
            assert self.now_s < until_s, f"{len(self.done_s)} of {self._count} sites are done after {until_s} s"
            action()

    @property
    def probes(self) -> int:
        """How often the watch tried a site."""
        return self._probing.tried

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._agenda, (when_s, next(self._numbers), action))

    def settle(self, attempt_id: int, site_id: int, *, is_done: bool) -> None:
        """End an attempt."""
        result = DONE if is_done else UNREACHABLE
        settle_attempt(self._database, attempt_id, result, worker_id=WORKER, now=self._now)
        if is_done:
            self.done_s[site_id] = self.now_s

    def _clock(self) -> float:
        return self.now_s

    @property
    def _now(self) -> datetime:
        return START + timedelta(seconds=self.now_s)

    def _look(self) -> None:
        if self._watch.round(self._now, clock_s=self.now_s):
            self._turn()
        self.at(self.now_s + LOOK_S, self._look)

    def _take_in(self) -> None:
        if self._watch.take_in(self._now, clock_s=self.now_s):
            self._turn()
        self.at(self.now_s + TAKE_IN_S, self._take_in)

    def _poll(self) -> None:
        self._turn()
        self.at(self.now_s + POLL_S, self._poll)

    def _turn(self) -> None:
        self._claims = [each for each in self._claims if each.open]
        while not hands_are_full([each.open for each in self._claims], self._settings.batch_size):
            if self.now_s < self._gathers_until and not self._forks.is_idle:
                break
            items = self._claim()
            if not items:
                break
            self._gathers_until = self.now_s + GATHER_S
            self.attempts += len(items)
            self._claims.append(self._forks.carry(items))

    def _claim(self) -> list[tuple[int, int]]:
        with self._database.read() as session:
            if not anything_ready(session, self._now):
                return []
        with self._database.write() as session:
            claimed = claim(
                session,
                worker_id=WORKER,
                zones=(),
                batch=WORKER,
                limit=self._settings.batch_size,
                max_running=self._settings.max_running,
                now=self._now,
            )
            return [(item.attempt.id or 0, item.operation.site_id) for item in claimed]


def _sites(database: Database) -> Sequence[Site]:
    with database.read() as session:
        return session.exec(select(Site)).all()
