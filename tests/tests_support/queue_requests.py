"""Sites, requests and claims in a database, without a worker: for tests of the queue's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select

from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.model.scope import Scope
from edgemgr.model.site import Site, SiteLabel
from edgemgr.store import limits, operations
from edgemgr.store.claim import Claimed, claim
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def add_sites(
    database: Database, count: int, labels: Mapping[str, str] | None = None, *, name: str = "site"
) -> list[int]:
    with database.write() as session:
        sites = [Site(name=f"{name}-{n}", address=f"{name}-{n}.example") for n in range(1, count + 1)]
        session.add_all(sites)
        session.flush()
        ids = [site.id or 0 for site in sites]
        session.add_all([SiteLabel(site_id=i, key=k, value=v) for i in ids for k, v in (labels or {}).items()])
        return ids


def ask(
    database: Database,
    site_ids: Sequence[int],
    kind: OperationKind = OperationKind.VERIFY,
    *,
    request: str = "r",
    priority: int = Priority.INTERACTIVE,
    key: str | None = None,
    now: datetime = NOW,
) -> None:
    wanted = [
        NewOperation(number, f"site-{number}", kind, {}, key or kind.value, priority, max_attempts=3)
        for number in site_ids
    ]
    deadline_at = now + timedelta(days=7)
    with database.write() as session:
        operations.submit(session, wanted, request=request, actor="test", deadline_at=deadline_at, now=now)


def take(
    database: Database,
    worker: str = "w1",
    limit: int = 50,
    *,
    zones: Sequence[str] = (),
    max_running: int = 1000,
    newcomers_only: bool = False,
    now: datetime = NOW,
) -> list[Claimed]:
    with database.write() as session:
        return claim(
            session,
            worker_id=worker,
            zones=zones,
            batch="b",
            limit=limit,
            max_running=max_running,
            newcomers_only=newcomers_only,
            now=now,
        )


def set_limit(database: Database, scope: str, most: int) -> None:
    with database.write() as session:
        limits.put(session, Scope.parse(scope), most, actor="test")


def every_operation(database: Database) -> Sequence[Operation]:
    with database.read() as session:
        return session.exec(select(Operation).order_by(col(Operation.id))).all()
