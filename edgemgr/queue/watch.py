"""Watching: sites that owe something are tried cheaply, and all that waits for one is woken when it answers.

A try is a TCP connection and the SSH banner, no login. How often depends on how long the site has been away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edgemgr.links.probe import Probe, ProbeVerdict, probe_many
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.submit import submit
from edgemgr.settings import Settings
from edgemgr.status.apply import note_contact
from edgemgr.store import history, operations
from edgemgr.store.database import Database
from edgemgr.store.history import Contact

#: A probe waits this long for an answer: shorter than an attempt's, because it is repeated anyway.
PROBE_TIMEOUT_S = 4.0
#: The longest pause before a host that answers probes but fails attempts is tried again, seconds.
HOLD_MAX_S = 300.0
#: At most this many observations are refreshed a round.
REFRESH_LIMIT = 50


@dataclass(frozen=True)
class Due:
    """What this watch knows of a site that owes something; forgotten when an attempt takes it up."""

    since: datetime  #: when the site was first found to owe something
    next_at: datetime  #: when it is tried next
    was_silent: bool = False  #: it did not answer at least once since then


@dataclass
class Watch:
    """The rounds of one appliance. Keeps when each site is due next; forgetting that costs one extra probe each."""

    database: Database
    settings: Settings
    due: dict[int, Due] = field(default_factory=dict)

    def round(self, now: datetime | None = None) -> int:
        """Try the sites that are due once; returns how many operations were woken."""
        now = now or utc_now()
        owing = self._owing()
        self.due = {site_id: self.due.get(site_id, Due(now, now)) for site_id in owing}
        ready = [site_id for site_id, due in self.due.items() if due.next_at <= now]
        if not ready:
            return 0
        found = probe_many(
            [(site_id, owing[site_id].address, owing[site_id].port) for site_id in ready], timeout_s=PROBE_TIMEOUT_S
        )
        return self._apply(owing, found, utc_now())

    def refresh(self, now: datetime | None = None) -> int:
        """Queue a probe for sites whose observation is too old; returns how many."""
        now = now or utc_now()
        with self.database.read() as session:
            old = history.observed_before(
                session, now - timedelta(seconds=self.settings.health_interval_s), limit=REFRESH_LIMIT
            )
            idle = [site_id for site_id in old if not history.has_open(session, site_id)]
        if not idle:
            return 0
        with self.database.write() as session:
            submit(session, OperationKind.PROBE, {}, idle, actor="watch", priority=Priority.BACKGROUND)
        return len(idle)

    def _owing(self) -> dict[int, Contact]:
        with self.database.read() as session:
            return {contact.site_id: contact for contact in history.owing_contact(session)}

    def _apply(self, owing: Mapping[int, Contact], found: Mapping[int, Probe], now: datetime) -> int:
        back = []
        for site_id, probe in found.items():
            due = self.due[site_id]
            answers = probe.verdict is ProbeVerdict.REACHABLE
            self.due[site_id] = Due(due.since, now + self._pause(now - due.since), due.was_silent or not answers)
            # A host that greets every probe and fails every attempt is tried ever more rarely; one that was
            # silent and is back is served at once.
            if answers and (due.was_silent or now - due.since >= hold(owing[site_id].unreached)):
                back.append(site_id)
        with self.database.write() as session:
            for site_id, probe in found.items():
                reachable = probe.verdict is ProbeVerdict.REACHABLE
                note_contact(session, site_id, owing[site_id].name, reachable=reachable, detail=probe.detail, now=now)
            return operations.wake(session, back, now=now)

    def _pause(self, away: timedelta) -> timedelta:
        """A hundredth of the time that the site has been away, within the bounds that the settings give."""
        wanted = max(away.total_seconds() / 100, self.settings.probe_interval_s)
        return timedelta(seconds=min(wanted, self.settings.probe_interval_max_s))


def hold(unreached: int) -> timedelta:
    """How long a site that never fell silent is left alone after so many attempts in a row that did not reach it."""
    return timedelta(seconds=min(HOLD_MAX_S, 2.0 ** min(unreached, 10)))
