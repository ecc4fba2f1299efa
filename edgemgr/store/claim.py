"""The claim: ready operations become running ones with an Attempt each, in one transaction.

The only statement that differs between the databases: PostgreSQL skips rows that another worker is claiming at this
moment, SQLite lets one writer in at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlmodel import Session, col

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation, OperationState
from edgemgr.model.site import Site
from edgemgr.store.open_operations import HEAD, QUEUED


@dataclass(frozen=True)
class Claimed:
    """An operation that is ours for the length of a lease, and the attempt that carries it."""

    operation: Operation
    attempt: Attempt
    site_name: str


def _ready(now: datetime) -> Select[int | None]:
    return (
        select(col(Operation.id))
        .where(
            QUEUED,
            HEAD,
            col(Operation.not_before) <= now,
        )
        .order_by(col(Operation.priority).desc(), col(Operation.id))
    )


def anything_ready(session: Session, now: datetime) -> bool:
    """Whether a claim would find something: a cheap look without the write lock."""
    return session.execute(_ready(now).limit(1)).scalar() is not None


def claim(session: Session, *, worker_id: str, batch: str, limit: int, lease_s: float, now: datetime) -> list[Claimed]:
    """Take up to `limit` ready operations that may travel together, best first; at most one of a site."""
    best = session.execute(_ready(now).limit(1).with_for_update(skip_locked=True)).scalar()
    if best is None:
        return []
    key = session.execute(select(col(Operation.batch_key)).where(col(Operation.id) == best)).scalar_one()
    ids = list(
        session.execute(
            _ready(now).where(col(Operation.batch_key) == key).limit(limit).with_for_update(skip_locked=True)
        ).scalars()
    )
    session.execute(
        update(Operation)
        .where(col(Operation.id).in_(ids))
        .values(state=OperationState.RUNNING.value, attempts=col(Operation.attempts) + 1, waiting_for="")
    )
    rows = session.execute(
        select(Operation, col(Site.name))
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(col(Operation.id).in_(ids))
        .order_by(col(Operation.priority).desc(), col(Operation.id))
    ).all()
    claimed = []
    for operation, site_name in rows:
        attempt = Attempt(
            operation_id=operation.id or 0,
            number=operation.attempts,
            worker_id=worker_id,
            batch=batch,
            started_at=now,
            lease_until=now + timedelta(seconds=lease_s),
        )
        session.add(attempt)
        claimed.append(Claimed(operation, attempt, site_name))
    session.flush()
    return claimed
