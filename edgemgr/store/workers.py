"""Writes of Worker: who runs attempts, and who is dead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col, select

from edgemgr.model.worker import Worker


def register(session: Session, worker: Worker) -> None:
    """Make a worker known before it claims anything."""
    session.add(worker)


def beat(session: Session, worker_id: str, *, now: datetime) -> None:
    """Say that a worker lives."""
    session.execute(update(Worker).where(col(Worker.id) == worker_id).values(heartbeat_at=now))


def stop(session: Session, worker_id: str, *, now: datetime) -> None:
    """Say that a worker ended."""
    session.execute(update(Worker).where(col(Worker.id) == worker_id).values(stopped_at=now))


def running(session: Session, *, host: str | None = None) -> Sequence[Worker]:
    """Workers that have not said that they ended, of one host where given."""
    query = select(Worker).where(col(Worker.stopped_at).is_(None)).order_by(col(Worker.started_at))
    if host is not None:
        query = query.where(col(Worker.host) == host)
    return session.exec(query).all()
