"""Writes of Operation: submitting, canceling, expiring, waking; and who is first in the line of a site.

Of every site's open operations one is the head, the only one that may run. Whoever opens or ends an operation
locks the site's row first and names the head anew, so that none is ever stranded without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import func, insert, not_, update
from sqlmodel import Session, col, select

from edgemgr.model.event import Event, EventType, Reason
from edgemgr.model.operation import Operation, OperationKind, OperationState, WaitingFor
from edgemgr.model.site import Site
from edgemgr.store import events
from edgemgr.store.open_operations import HEAD, HEAD_BY_SITE, QUEUED, QUEUED_BY_SITE, READY, RUNNING
from edgemgr.store.queries import in_chunks

#: At most this many are ended in one transaction because their deadline passed.
EXPIRE_LIMIT = 2000

SUPERSEDED_CODE = "E-OP-SUPERSEDED"
SUPERSEDED = "a newer request took its place"


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
    max_lost: int = 3


def submit(
    session: Session, wanted: Sequence[NewOperation], *, request: str, actor: str, deadline_at: datetime, now: datetime
) -> None:
    """Queue the operations of one request, in place of those of the same kind that still wait.

    What already runs is left alone: the new one waits behind it. At a site that is paused it waits for the resume.
    """
    turns = {priority: count(_first_turn(session, priority)) for priority in {item.priority for item in wanted}}
    for part in in_chunks(wanted):
        site_ids = [item.site_id for item in part]
        lock_sites(session, site_ids)
        paused = set(session.exec(select(Site.id).where(col(Site.id).in_(site_ids), col(Site.paused_at).is_not(None))))
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
                    "turn": next(turns[item.priority]),
                    "request": request,
                    "actor": actor,
                    "created_at": now,
                    "not_before": now,
                    "deadline_at": deadline_at,
                    "max_attempts": item.max_attempts,
                    "max_lost": item.max_lost,
                    "waiting_for": (WaitingFor.RESUME if item.site_id in paused else WaitingFor.TURN).value,
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


def open_params(session: Session, kind: OperationKind, site_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Site → the parameters of what is open there of a kind: what waits, and what runs."""
    found: dict[int, list[dict[str, Any]]] = {}
    for part in in_chunks(site_ids):
        for state, index in ((QUEUED, QUEUED_BY_SITE), (HEAD & RUNNING, HEAD_BY_SITE)):
            query = (
                select(Operation.site_id, Operation.params)
                .where(col(Operation.site_id).in_(part), col(Operation.kind) == kind.value, state)
                .with_hint(*index)
            )
            for site_id, params in session.exec(query):
                found.setdefault(site_id, []).append(dict(params))
    return found


def _first_turn(session: Session, priority: int) -> int:
    """Where a new request joins the line of its priority: beside what is being served, not behind all that waits.

    Start-time fair queueing (Goyal, Vin and Cheng, 1996): the operations of a request are numbered from the largest
    number in service, so that requests that wait together are served by turns, whatever their sizes.
    """
    serving = session.exec(select(func.max(Operation.turn)).where(RUNNING, col(Operation.priority) == priority)).one()
    if serving is not None:
        return serving
    here = READY, col(Operation.priority) == priority
    first = session.exec(select(Operation.turn).where(*here).order_by(col(Operation.turn)).limit(1)).first()
    return first or 0


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
        .with_hint(*QUEUED_BY_SITE)
        .subquery()
    )
    first = select(line.c.id).where(line.c.place == 1)
    session.execute(update(Operation).where(col(Operation.id).in_(first)).values(is_head=True))


def cancel(session: Session, operation_ids: Sequence[int], *, actor: str, now: datetime) -> tuple[int, int]:
    """Cancel what waits at once and ask what runs to stop; returns how many of each."""
    waiting = running = 0
    for part in in_chunks(operation_ids):
        site_ids = list(session.exec(select(Operation.site_id).where(col(Operation.id).in_(part)).distinct()))
        lock_sites(session, site_ids)
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
        select(Operation.id, Operation.site_id).where(QUEUED, col(Operation.deadline_at) <= now).limit(EXPIRE_LIMIT)
    ).all()
    if not due:
        return 0
    site_ids = sorted({site_id for _, site_id in due})
    lock_sites(session, site_ids)
    found = session.exec(select(Operation).where(col(Operation.id).in_([number for number, _ in due]), QUEUED)).all()
    for operation in found:
        why = operation.message or "its turn never came"
        if operation.waiting_for == WaitingFor.RESUME.value:
            why = "its site was paused"
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
    """Let everything that waits for contact with these sites run now; returns how many operations.

    What another transaction is changing at this moment is left to the next round: waiting for it while the caller
    holds other rows could end in a deadlock.
    """
    woken = 0
    for part in in_chunks(site_ids):
        waiting = (
            select(Operation.id)
            .where(
                col(Operation.site_id).in_(part),
                QUEUED,
                col(Operation.waiting_for) == WaitingFor.CONTACT.value,
            )
            .with_hint(*QUEUED_BY_SITE)
            .with_for_update(skip_locked=True)
        )
        ids = session.exec(waiting).all()
        session.execute(
            update(Operation)
            .where(col(Operation.id).in_(ids))
            .values(not_before=now, waiting_for=WaitingFor.TURN.value)
        )
        woken += len(ids)
    return woken


def _supersede(session: Session, site_ids: Sequence[int], kind: OperationKind, *, actor: str, now: datetime) -> None:
    """As `supersede`, of thousands at once."""
    older = (
        select(Operation.id, Operation.site_id)
        .where(col(Operation.site_id).in_(site_ids), col(Operation.kind) == kind.value, QUEUED)
        .with_hint(*QUEUED_BY_SITE)
    )
    rows = session.exec(older).all()
    if not rows:
        return
    session.execute(
        update(Operation)
        .where(col(Operation.id).in_([number for number, _ in rows]))
        .values(
            state=OperationState.CANCELED.value,
            is_head=False,
            finished_at=now,
            waiting_for="",
            code=SUPERSEDED_CODE,
            message=SUPERSEDED,
        )
    )
    common = {"at": now, "type": EventType.NORMAL.value, "reason": Reason.OPERATION_SUPERSEDED.value, "actor": actor}
    told = {**common, "message": _gave_way(kind.value)}
    session.execute(insert(Event), [{**told, "site_id": site_id, "operation_id": number} for number, site_id in rows])


def supersede(session: Session, operation: Operation, *, actor: str, now: datetime) -> None:
    """End an operation in favour of a newer one of the same kind."""
    _end(operation, OperationState.CANCELED, now=now, code=SUPERSEDED_CODE, message=SUPERSEDED)
    events.record(
        session,
        Reason.OPERATION_SUPERSEDED,
        _gave_way(operation.kind),
        actor=actor,
        site_id=operation.site_id,
        operation_id=operation.id,
    )


def _gave_way(kind: str) -> str:
    return f"{kind} gave way to a newer request"


def _end(operation: Operation, state: OperationState, *, now: datetime, code: str, message: str) -> None:
    operation.state = state.value
    operation.is_head = False
    operation.finished_at = now
    operation.waiting_for = ""
    operation.code = code
    operation.message = message


def lock_sites(session: Session, site_ids: Sequence[int]) -> None:
    """Hold the rows of these sites, in one order for everybody; on SQLite the transaction holds all already."""
    session.execute(select(Site.id).where(col(Site.id).in_(site_ids)).order_by(col(Site.id)).with_for_update())


def hurry(session: Session, operation_ids: Sequence[int], *, now: datetime) -> None:
    """Let queued operations run as soon as they can, whatever they wait for; at a paused site they stay."""
    session.execute(
        update(Operation)
        .where(col(Operation.id).in_(operation_ids), QUEUED, col(Operation.waiting_for) != WaitingFor.RESUME.value)
        .values(not_before=now, waiting_for=WaitingFor.TURN.value)
    )
