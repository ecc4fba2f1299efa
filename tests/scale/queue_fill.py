"""Sites and operations by the thousand, for the benchmarks that need no node behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import insert, update
from sqlmodel import col, select

from edgemgr.model.operation import Operation, OperationKind, Priority, WaitingFor
from edgemgr.model.site import Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.store import operations
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

DEADLINE_S = 7 * 86_400


def make_sites(database: Database, count: int, *, first: int = 0) -> list[int]:
    """Sites with addresses that nobody tries."""
    now = utc_now()
    with database.write() as session:
        session.execute(
            insert(Site),
            [
                {
                    "name": f"store-{number:05}",
                    "address": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                    "port": 22,
                    "user": "edge",
                    "host_key": "ssh-ed25519 AAAA",
                    "trust": Trust.PINNED.value,
                    "created_at": now,
                    "updated_at": now,
                }
                for number in range(first, first + count)
            ],
        )
        return [site_id or 0 for site_id in session.exec(select(Site.id).order_by(col(Site.id)).offset(first))]


def enqueue(
    database: Database, site_ids: Sequence[int], kind: OperationKind = OperationKind.VERIFY, now: datetime | None = None
) -> None:
    """One request for all of these sites."""
    now = now or utc_now()
    wanted = [
        NewOperation(
            site_id=site_id,
            site_name=f"store-{site_id:05}",
            kind=kind,
            params={},
            batch_key=kind.value,
            priority=Priority.INTERACTIVE,
            max_attempts=3,
        )
        for site_id in site_ids
    ]
    with database.write() as session:
        operations.submit(
            session,
            wanted,
            request=f"{kind.value}-{now:%H%M%S%f}",
            actor="bench",
            deadline_at=now + timedelta(seconds=DEADLINE_S),
            now=now,
        )


def let_all_wait(database: Database) -> None:
    """As after an attempt that did not reach the site: every head waits for contact, for an hour."""
    with database.write() as session:
        session.execute(
            update(Operation)
            .where(col(Operation.is_head))
            .values(waiting_for=WaitingFor.CONTACT.value, not_before=utc_now() + timedelta(hours=1))
        )
