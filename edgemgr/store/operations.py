"""Writes of Operation: submitting, canceling, expiring, waking; and who is first in the line of a site.

Of every site's open operations one is the head, the only one that may run. Whoever opens or ends an operation
locks the site's row first and names the head anew, so that none is ever stranded without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, insert, not_, update
from sqlmodel import Session, col, select

from edgemgr.model.event import Event, EventType, Reason
from edgemgr.model.operation import Operation, OperationKind, OperationState, WaitingFor
from edgemgr.model.site import Site
from edgemgr.store import events
from edgemgr.store.open_operations import HEAD, QUEUED, RUNNING

#: Statements name at most this many rows: both databases limit the number of bound values.
CHUNK = 2000

Item = TypeVar("Item")


@dataclass(frozen=True)
class NewOperation:
    """One request for one site, before it has a number."""

    site_id: int
    site_name: str
    kind: OperationKind
    params: dict[str, Any]
    batch_key: str
    priority: int
    max_attempts: int


def submit(
    session: Session, wanted: Sequence[NewOperation], *, request: str, actor: str, deadline_at: datetime, now: datetime
) -> None:
    """Queue the operations of one request, in place of those of the same kind that still wait.

    What already runs is left alone: the new one waits behind it.
    """
    for part in _chunks(wanted):
        site_ids = [item.site_id for item in part]
        _lock(session, site_ids)
        for kind in {item.kind for item in part}:
            _supersede(session, [item.site_id for item in part if item.kind == kind], kind, actor=actor, now=now)
        session.execute(
            insert(Operation),
            [
                {
                    "site_id": item.site_id,
                    "kind": item.kind.value,
                    "params": item.params,
                    "batch_key": item.batch_key,
                    "priority": item.priority,
                    "request": request,
                    "actor": actor,
                    "created_at": now,
                    "not_before": now,
                    "deadline_at": deadline_at,
                    "max_attempts": item.max_attempts,
                    "waiting_for": WaitingFor.TURN.value,
                }
                for item in part
            ],
        )
        session.execute(
            insert(Event),
            [
                {
                    "at": now,
                    "type": EventType.NORMAL.value,
                    "reason": Reason.OPERATION_QUEUED.value,
                    "message": f"{item.kind.value} was asked for",
                    "actor": actor,
                    "site_id": item.site_id,
                    "site_name": item.site_name,
                }
                for item in part
            ],
        )
        name_heads(session, site_ids)


def name_heads(session: Session, site_ids: Sequence[int]) -> None:
    """Put the right operation first on each of these sites: what runs, else the highest priority, else the oldest."""
    session.execute(
        update(Operation)
        .where(
            col(Operation.site_id).in_(site_ids),
            HEAD,
            not_(RUNNING),
        )
        .values(is_head=False)
    )
    busy = select(Operation.site_id).where(col(Operation.site_id).in_(site_ids), HEAD)
    line = (
        select(
            Operation.id,
            func.row_number()
            .over(partition_by=col(Operation.site_id), order_by=[col(Operation.priority).desc(), col(Operation.id)])
            .label("place"),
        )
        .where(
            col(Operation.site_id).in_(site_ids),
            QUEUED,
            col(Operation.site_id).not_in(busy),
        )
        .subquery()
    )
    first = select(line.c.id).where(line.c.place == 1)
    session.execute(update(Operation).where(col(Operation.id).in_(first)).values(is_head=True))


def cancel(session: Session, operation_ids: Sequence[int], *, actor: str, now: datetime) -> tuple[int, int]:
    """Cancel what waits at once and ask what runs to stop; returns how many of each."""
    waiting = running = 0
    for part in _chunks(operation_ids):
        site_ids = list(session.exec(select(Operation.site_id).where(col(Operation.id).in_(part)).distinct()))
        _lock(session, site_ids)
        found = session.exec(select(Operation).where(col(Operation.id).in_(part))).all()
        for operation in found:
            if operation.state == OperationState.QUEUED.value:
                _end(operation, OperationState.CANCELED, now=now, code="", message=f"canceled by {actor}")
                events.record(
                    session,
                    Reason.OPERATION_CANCELED,
                    f"{operation.kind} was canceled before it ran",
                    actor=actor,
                    site_id=operation.site_id,
                    operation_id=operation.id,
                )
                waiting += 1
            elif operation.state == OperationState.RUNNING.value:
                operation.cancel_requested = True
                running += 1
        session.flush()
        name_heads(session, site_ids)
    return waiting, running


def expire(session: Session, *, now: datetime) -> int:
    """End what waits past its deadline."""
    due = session.exec(
        select(Operation.id, Operation.site_id).where(QUEUED, col(Operation.deadline_at) <= now).limit(CHUNK)
    ).all()
    if not due:
        return 0
    site_ids = sorted({site_id for _, site_id in due})
    _lock(session, site_ids)
    found = session.exec(select(Operation).where(col(Operation.id).in_([number for number, _ in due]), QUEUED)).all()
    for operation in found:
        why = operation.message or "its turn never came"
        _end(operation, OperationState.EXPIRED, now=now, code="E-OP-EXPIRED", message=f"the deadline passed: {why}")
        events.record(
            session,
            Reason.OPERATION_EXPIRED,
            f"{operation.kind}: {operation.message}",
            actor="queue",
            site_id=operation.site_id,
            operation_id=operation.id,
            warning=True,
        )
    session.flush()
    name_heads(session, site_ids)
    return len(found)


def wake(session: Session, site_ids: Sequence[int], *, now: datetime) -> int:
    """Let everything that waits for contact with these sites run now; returns how many operations."""
    woken = 0
    for part in _chunks(site_ids):
        result = session.execute(
            update(Operation)
            .where(
                col(Operation.site_id).in_(part),
                QUEUED,
                col(Operation.waiting_for) == WaitingFor.CONTACT.value,
            )
            .values(not_before=now, waiting_for=WaitingFor.TURN.value)
        )
        woken += result.rowcount  # type: ignore[attr-defined]
    return woken


def _supersede(session: Session, site_ids: Sequence[int], kind: OperationKind, *, actor: str, now: datetime) -> None:
    older = session.exec(
        select(Operation).where(
            col(Operation.site_id).in_(site_ids),
            col(Operation.kind) == kind.value,
            QUEUED,
        )
    ).all()
    for operation in older:
        supersede(session, operation, actor=actor, now=now)
    session.flush()


def supersede(session: Session, operation: Operation, *, actor: str, now: datetime) -> None:
    """End an operation in favour of a newer one of the same kind."""
    _end(operation, OperationState.CANCELED, now=now, code="E-OP-SUPERSEDED", message="a newer request took its place")
    events.record(
        session,
        Reason.OPERATION_SUPERSEDED,
        f"{operation.kind} gave way to a newer request",
        actor=actor,
        site_id=operation.site_id,
        operation_id=operation.id,
    )


def _end(operation: Operation, state: OperationState, *, now: datetime, code: str, message: str) -> None:
    operation.state = state.value
    operation.is_head = False
    operation.finished_at = now
    operation.waiting_for = ""
    operation.code = code
    operation.message = message


def _lock(session: Session, site_ids: Iterable[int]) -> None:
    """Hold the rows of these sites, in one order for everybody; on SQLite the transaction holds all already."""
    session.execute(select(Site.id).where(col(Site.id).in_(list(site_ids))).order_by(col(Site.id)).with_for_update())


def _chunks(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def hurry(session: Session, operation_ids: Sequence[int], *, now: datetime) -> None:
    """Let queued operations run as soon as they can, whatever they wait for."""
    session.execute(
        update(Operation)
        .where(col(Operation.id).in_(operation_ids), QUEUED)
        .values(not_before=now, waiting_for=WaitingFor.TURN.value)
    )
