"""What tries of sites have found, written down: only what is new, many sites in one transaction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from edgemgr.inventory.trust import note_seen_key
from edgemgr.links.probe import ProbeVerdict
from edgemgr.model.cluster import Reachability
from edgemgr.model.site import Site
from edgemgr.queue.tries import Tried
from edgemgr.status.apply import Contacted, note_contacts, note_tried
from edgemgr.store import operations
from edgemgr.store.contacts import Finding, note_findings
from edgemgr.store.database import Database

#: How often it is written that sites were tried which are as silent as before, seconds.
TRIED_S = 300.0


class Findings:
    """The writing hand of the watch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tried: dict[int, datetime] = {}  #: site → when it was tried last, not written yet
        self._wrote_at = -math.inf

    def wake(self, back: Sequence[Tried], now: datetime) -> int:
        """Wake what waits for the sites that are back; returns how many operations were woken.

        Raises:
            StoreError: the database cannot be used; nothing was written.
        """
        if not back:
            return 0
        # One kind of row in a transaction: a settling attempt locks its site, its operation and its cluster, in that
        # order, and two that wait for each other would end one of them.
        with self._database.write() as session:
            woken = operations.wake(session, [tried.contact.site_id for tried in back], now=now)
        # That a jump host answers says nothing of the site behind it.
        answers = [Contacted(t.contact.site_id, t.contact.name) for t in back if not t.contact.is_jump]
        with self._database.write() as session:
            note_contacts(session, answers, (), now=now)
        return woken

    def note_missed(self, missed: Sequence[Tried], now: datetime) -> None:
        """Note why sites did not answer, or answered wrongly.

        Raises:
            StoreError: the database cannot be used; what was found is found again.
        """
        self._tried.update((tried.contact.site_id, now) for tried in missed)
        new = [tried for tried in missed if _is_news(tried)]
        if not new:
            return
        with self._database.write() as session:
            note_findings(session, [Finding(t.contact.site_id, _code(t), _text(t)) for t in new])
        with self._database.write() as session:
            silent = [Contacted(t.contact.site_id, t.contact.name, _text(t)) for t in new]
            note_contacts(session, (), silent, now=now)
        for tried in new:
            if tried.probe.shown is not None and not tried.contact.is_jump:
                self._stop(tried.contact.site_id, tried.probe.shown)

    def _stop(self, site_id: int, shown: str) -> None:
        """Another key than the pinned one stops the site for everybody."""
        with self._database.write() as session:
            site = session.get(Site, site_id, with_for_update=True)
            if site is not None:
                note_seen_key(session, site, shown, actor="watch")

    def write_tried(self, clock_s: float) -> None:
        """Write once in a while when sites were tried that have nothing new to tell.

        Raises:
            StoreError: the database cannot be used; it is tried again.
        """
        if clock_s - self._wrote_at < TRIED_S:
            return
        if self._tried:
            with self._database.write() as session:
                note_tried(session, self._tried)
            self._tried = {}
        self._wrote_at = clock_s


def _is_news(tried: Tried) -> bool:
    contact = tried.contact
    return contact.reachability != Reachability.UNREACHABLE.value or contact.reason != _text(tried)


def _text(tried: Tried) -> str:
    if tried.contact.is_jump:
        return f"the jump host {tried.contact.address}: {tried.probe.detail}"
    return tried.probe.detail


def _code(tried: Tried) -> str:
    if tried.contact.is_jump and tried.probe.verdict is ProbeVerdict.OTHER_KEY:
        return "E-JUMP-IDENTITY-MISMATCH"
    return tried.probe.code
