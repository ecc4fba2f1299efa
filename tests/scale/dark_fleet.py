"""A fleet that has been dark for hours, straight into the database: what an appliance finds the morning after."""

from __future__ import annotations

from datetime import timedelta

from dark_network import dark_address
from queue_fill import enqueue, make_sites
from sqlalchemy import insert, update
from sqlmodel import col

from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import Operation, OperationKind, WaitingFor
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.retry import CONTACT_PAUSE_S
from edgemgr.queue.watch import PROBE_TIMEOUT_S
from edgemgr.store.database import Database

AWAY_S = 6 * 3600
#: As the watch words it.
_WHY = f"nothing came within {PROBE_TIMEOUT_S:g} s"


def make_dark_fleet(database: Database, sites: int, kinds: int) -> int:
    """That many sites with an operation of that many kinds each, all tried in vain; returns how many operations."""
    now = utc_now()
    went_at = now - timedelta(seconds=AWAY_S)
    site_ids = make_sites(database, sites)
    chosen = list(OperationKind)[:kinds]
    for kind in chosen:
        enqueue(database, site_ids, kind, went_at)
    table, clusters = Site.__table__, Cluster.__table__  # type: ignore[attr-defined]
    with database.write() as session:
        for number, site_id in enumerate(site_ids):
            session.execute(update(table).where(table.c.id == site_id).values(address=dark_address(number)))
            # The pauses of the table, drawn evenly, as they lie some hours after the first attempt.
            not_before = now + timedelta(seconds=CONTACT_PAUSE_S[1] * (number + 1) / sites)
            session.execute(
                update(Operation)
                .where(col(Operation.site_id) == site_id, col(Operation.is_head))
                .values(
                    waiting_for=WaitingFor.CONTACT.value,
                    not_before=not_before,
                    attempts=3,
                    unreached=3,
                    code="E-SITE-NO-ANSWER",
                    message=_WHY,
                )
            )
        session.execute(
            insert(clusters),
            [
                {
                    "site_id": site_id,
                    "reachability": Reachability.UNREACHABLE.value,
                    "reachability_reason": _WHY,
                    "contact_at": went_at,
                    "health": "unknown",
                    "health_reason": "",
                    "facts": {},
                }
                for site_id in site_ids
            ],
        )
    return len(site_ids) * len(chosen)
