"""Watching: sites that owe something are tried cheaply, and all that waits for one is woken when it answers.

A try is a TCP connection and the SSH banner, no login. How often depends on how long the site has been away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import col, select

from edgemgr.links.probe import Probe, Verdict, probe_many
from edgemgr.model.operation import Operation, OperationKind, OperationState, Priority, WaitingFor
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.submit import submit
from edgemgr.settings import Settings
from edgemgr.status.apply import note_contact
from edgemgr.store import clusters, operations
from edgemgr.store.database import Database

#: A probe waits this long for an answer: shorter than an attempt's, because it is repeated anyway.
PROBE_TIMEOUT_S = 4.0
#: At most this many observations are refreshed a round.
REFRESH_LIMIT = 50


@dataclass
class Watch:
    """The rounds of one appliance. Keeps when each site is due next; forgetting that costs one extra probe each."""

    database: Database
    settings: Settings
    due: dict[int, tuple[datetime, float]] = field(default_factory=dict)  #: site → (next try, pause before it, s)

    def round(self, now: datetime | None = None) -> int:
        """Try the sites that are due once; returns how many operations were woken."""
        now = now or utc_now()
        owing = self._owing()
        self.due = {site_id: entry for site_id, entry in self.due.items() if site_id in owing}
        ready = [site_id for site_id in owing if self.due.get(site_id, (now, 0.0))[0] <= now]
        if not ready:
            return 0
        found = asyncio.run(
            probe_many([(site_id, *owing[site_id][1:]) for site_id in ready], timeout_s=PROBE_TIMEOUT_S)
        )
        return self._apply({site_id: (owing[site_id][0], probe) for site_id, probe in found.items()})

    def refresh(self, now: datetime | None = None) -> int:
        """Queue a probe for sites whose observation is too old; returns how many."""
        now = now or utc_now()
        with self.database.read() as session:
            old = clusters.observed_before(
                session, now - timedelta(seconds=self.settings.health_interval_s), limit=REFRESH_LIMIT
            )
            idle = [site_id for site_id in old if not operations.has_open(session, site_id)]
        if not idle:
            return 0
        with self.database.write() as session:
            submit(session, OperationKind.PROBE, {}, idle, actor="watch", priority=Priority.BACKGROUND)
        return len(idle)

    def _owing(self) -> dict[int, tuple[str, str, int]]:
        with self.database.read() as session:
            rows = session.exec(
                select(Site.id, Site.name, Site.address, Site.port, Site.jump_address, Site.jump_port)
                .join(Operation, col(Operation.site_id) == col(Site.id))
                .where(
                    col(Operation.state) == OperationState.QUEUED.value,
                    col(Operation.is_head),
                    col(Operation.waiting_for) == WaitingFor.CONTACT.value,
                )
            ).all()
        # Behind a jump host only the jump host can be tried without a login.
        return {
            site_id: (name, jump_address or address, (jump_port or 22) if jump_address else port)
            for site_id, name, address, port, jump_address, jump_port in rows
            if site_id is not None
        }

    def _apply(self, found: Mapping[int, tuple[str, Probe]]) -> int:
        now = utc_now()
        back = [site_id for site_id, (_, probe) in found.items() if probe.verdict is Verdict.REACHABLE]
        for site_id in found:
            pause = self.due.get(site_id, (now, self.settings.probe_interval_s / 1.5))[1]
            longer = min(pause * 1.5, self.settings.probe_interval_max_s)
            self.due[site_id] = (now + timedelta(seconds=longer), longer)
        with self.database.write() as session:
            for site_id, (name, probe) in found.items():
                reachable = probe.verdict is Verdict.REACHABLE
                note_contact(session, site_id, name, reachable=reachable, detail=probe.detail, now=now)
            return operations.wake(session, back, now=now)
