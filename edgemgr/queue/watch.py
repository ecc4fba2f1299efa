"""Watching: sites that owe something are tried cheaply, and all that waits for one is woken when it answers.

A try is a TCP connection and the SSH banner, no login. A site that greets again shows its host key in a key exchange
before anything is woken for it. Rounds wait for nothing: a site whose probe is under way does not hold up the others.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection
from datetime import datetime, timedelta

from edgemgr.errors import StoreError
from edgemgr.links.key_check import KeyChecker
from edgemgr.links.probe import Prober, ProbeVerdict
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.submit import submit
from edgemgr.queue.agenda import Agenda, Due
from edgemgr.queue.findings import Findings
from edgemgr.queue.pace import hold_s, pause_s
from edgemgr.queue.tries import Checking, Endpoint, Probing, Tried, Tries
from edgemgr.settings import Settings
from edgemgr.store import contacts
from edgemgr.store.contacts import Contact
from edgemgr.store.database import Database

#: A probe waits this long for an answer: shorter than an attempt's, because it is repeated anyway.
PROBE_TIMEOUT_S = 4.0
#: Probes at the same time, as far as the process may open files.
PROBE_LIMIT = 2000
#: How often it looks whether other sites owe contact than before, seconds.
LOOK_S = 2.0
#: After so long it reads them all although nothing seems changed: a label or a pin may have been, seconds.
READ_S = 60.0
#: It reads no more sites a second than this, however much changes: about a microsecond of CPU each.
READ_RATE = 1000.0
#: Pauses are shortened by up to this part of them, by chance.
SPREAD = 0.2
#: At most this many observations are refreshed a round.
REFRESH_LIMIT = 50


class Watch:
    """The rounds of one appliance, to be called a few times a second, always by the same thread."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        probing: Probing | None = None,
        checking: Checking | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._agenda = Agenda()
        self._tries = Tries(
            Prober[Endpoint](PROBE_TIMEOUT_S, PROBE_LIMIT) if probing is None else probing,
            KeyChecker[Endpoint](settings.connect_timeout_s) if checking is None else checking,
        )
        self._findings = Findings(database)
        self._missed: list[Tried] = []  #: of tries that found nothing, until the next round
        self._mark: tuple[int, ...] | None = None  #: of the sites that are on the agenda; None: they are read anew
        self._looked_at = self._read_at = -math.inf

    def round(self, now: datetime | None = None, clock_s: float | None = None) -> int:
        """Begin the tries that are due and take in those that have ended; returns how many operations were woken.

        `now` is what is written, `clock_s` (seconds of any clock that nobody sets) decides what is due.

        Raises:
            StoreError: the database cannot be used; the sites in question are tried again.
        """
        now = now or utc_now()
        clock_s = time.monotonic() if clock_s is None else clock_s
        self._look(clock_s)
        self._begin(now, clock_s)
        woken = self.take_in(now, clock_s)
        missed, self._missed = self._missed, []
        # Who is not on the agenda any more was back meanwhile, or an attempt has taken it up.
        self._findings.note_missed([each for each in missed if self._agenda.of(each.contact.site_id)], now)
        self._findings.write_tried(clock_s)
        return woken

    def take_in(self, now: datetime | None = None, clock_s: float | None = None) -> int:
        """Wake who is back, as far as is known by now; costs next to nothing, so that it need not wait for a round.

        Times, what is returned and what is raised are those of `round`.
        """
        now = now or utc_now()
        clock_s = time.monotonic() if clock_s is None else clock_s
        back: list[Tried] = []
        for tried in self._tries.ended(lambda contact: self._may_wake(contact, clock_s)):
            due = self._agenda.of(tried.contact.site_id)
            if due is None:  # an attempt has taken it up, or nothing is wanted any more
                continue
            if tried.probe.verdict is ProbeVerdict.REACHABLE:
                if tried.is_proven and self._may_wake(tried.contact, clock_s):
                    back.append(tried)
            elif tried.probe.verdict is not ProbeVerdict.NOT_TRIED:
                due.note_missed(is_silent=not tried.probe.answers, is_wrong=tried.is_proven)
                self._missed.append(tried)
            self._agenda.put_back(tried.contact.site_id, self._next_at(tried.contact, due, clock_s))
        woken = self._findings.wake(back, now)
        self._forget({tried.contact.site_id for tried in back})
        return woken

    def refresh(self, now: datetime | None = None) -> int:
        """Queue a probe for sites whose observation is too old; returns how many."""
        moment = (now or utc_now()) - timedelta(seconds=self._settings.health_interval_s)
        with self._database.read() as session:
            stale = contacts.stale_sites(session, moment, limit=REFRESH_LIMIT)
        if not stale:
            return 0
        with self._database.write() as session:
            submit(session, OperationKind.PROBE, {}, stale, actor="watch", priority=Priority.BACKGROUND)
        return len(stale)

    def _look(self, clock_s: float) -> None:
        """Learn which sites owe contact; all of them are read only if something seems to have changed."""
        if clock_s - self._looked_at < LOOK_S:
            return
        with self._database.read() as session:
            mark = contacts.owing_mark(session)
            self._looked_at = clock_s
            read_for_s = clock_s - self._read_at
            if read_for_s < (READ_S if mark == self._mark else len(self._agenda) / READ_RATE):
                return
            self._agenda.replace(contacts.owing_sites(session, self._settings.zones), clock_s)
        self._mark, self._read_at = mark, clock_s

    def _begin(self, now: datetime, clock_s: float) -> None:
        due = self._agenda.take(clock_s, PROBE_LIMIT - len(self._tries))
        if not due:
            return
        try:
            with self._database.read() as session:
                found = contacts.contacts_of(session, due)
        except StoreError:
            for site_id in due:
                self._agenda.put_back(site_id, clock_s + self._settings.probe_interval_s)
            raise
        for contact in found:
            known = self._agenda.of(contact.site_id)
            if known is not None and known.away_since is None:
                known.away_since = clock_s - max(0.0, (now - contact.since).total_seconds())
            self._tries.begin(contact)
        self._forget(set(due) - {contact.site_id for contact in found})

    def _may_wake(self, contact: Contact, clock_s: float) -> bool:
        """Whether a site that greets is served now.

        A host that greets every probe and fails every attempt is tried ever more rarely; one that was silent and is
        back is served at once.
        """
        due = self._agenda.of(contact.site_id)
        return due is not None and (due.was_silent or clock_s - due.found_at >= hold_s(contact.unreached, contact.code))

    def _next_at(self, contact: Contact, due: Due, clock_s: float) -> float:
        away_s = 0.0 if due.away_since is None else clock_s - due.away_since
        pause = pause_s(away_s, len(self._agenda), due.wrong_answers, self._settings)
        if not contact.is_jump:
            # Not all at the same moments for ever, because they were found at the same moment.
            return clock_s + random.uniform(1 - SPREAD, 1) * pause  # noqa: S311 - no secret hangs on it
        # Sites behind one jump host are due at the same moments, so that it is tried once for all of them.
        grid_s = self._settings.probe_interval_s
        return math.ceil((clock_s + pause) / grid_s) * grid_s

    def _forget(self, site_ids: Collection[int]) -> None:
        """Sites that wait for contact no more; should they again, the mark alone might not tell."""
        if site_ids:
            self._agenda.forget(site_ids)
            self._mark = None
