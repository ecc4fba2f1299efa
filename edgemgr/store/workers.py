"""Writes of Worker: who runs attempts, and who is dead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text, update
from sqlmodel import Session, col, select

from edgemgr.model.worker import Worker


def register(session: Session, worker: Worker) -> None:
    """Make a worker known before it claims anything."""
    session.add(worker)


def beat(session: Session, worker_id: str, *, clock_jumps: int, now: datetime) -> bool:
    """Say that a worker lives; False: the others gave it up, and nothing was written."""
    result = session.execute(
        update(Worker)
        .where(col(Worker.id) == worker_id, col(Worker.stopped_at).is_(None))
        .values(beats=col(Worker.beats) + 1, heartbeat_at=now, clock_jumps=clock_jumps)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]


def stop(session: Session, worker_id: str, *, now: datetime) -> None:
    """Say that a worker ended."""
    session.execute(
        update(Worker).where(col(Worker.id) == worker_id, col(Worker.stopped_at).is_(None)).values(stopped_at=now)
    )


def give_up(session: Session, worker_id: str, *, beats: int, now: datetime) -> bool:
    """Say that a worker is dead, unless it was heard of in the meantime; returns whether it was given up here."""
    result = session.execute(
        update(Worker)
        .where(col(Worker.id) == worker_id, col(Worker.beats) == beats, col(Worker.stopped_at).is_(None))
        .values(stopped_at=now)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]


def may_claim(session: Session, worker_id: str) -> bool:
    """Whether a worker counts as alive; on PostgreSQL it cannot be given up before the end of this transaction."""
    query = select(Worker.id).where(col(Worker.id) == worker_id, col(Worker.stopped_at).is_(None))
    return session.exec(query.with_for_update(read=True)).one_or_none() is not None


def running(session: Session) -> Sequence[Worker]:
    """Workers that have neither ended nor been given up, oldest first."""
    return session.exec(
        select(Worker).where(col(Worker.stopped_at).is_(None)).order_by(col(Worker.started_at), col(Worker.id))
    ).all()


def is_local(session: Session) -> bool:
    """Whether the database is a file of this machine, so that every worker of it is one of this machine too."""
    return session.get_bind().dialect.name == "sqlite"


def server_time(session: Session) -> datetime | None:
    """The time of day of the database's server; None where the database is a file of this machine."""
    if is_local(session):
        return None
    moment: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment
