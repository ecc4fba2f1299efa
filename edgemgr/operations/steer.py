"""Steering what was submitted: canceling it, asking for it again, letting it run sooner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgemgr.errors import ConflictError
from edgemgr.model.operation import OPEN_STATES, OperationKind, OperationState, WaitingFor
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.submit import submit
from edgemgr.store import history, operations
from edgemgr.store.database import Database


@dataclass(frozen=True)
class Canceled:
    """What a cancellation came to."""

    waiting: int  #: ended at once
    running: int  #: asked to stop


def open_among(database: Database, operation_ids: Sequence[int], *, request: str | None = None) -> list[int]:
    """Those of the named operations, and of one request, that have not ended.

    Raises:
        NotFoundError: a number is unknown.
        ConflictError: all of them have ended.
    """
    with database.read() as session:
        named = [history.get_operation(session, number).operation for number in operation_ids]
        found = [operation.id or 0 for operation in named if OperationState(operation.state) in OPEN_STATES]
        if request is not None:
            found += history.open_of_request(session, request)
    if not found:
        raise ConflictError(
            "there is nothing to cancel: all of it has ended",
            hint="`edgemgr operation list --open` shows what has not.",
            code="E-OP-ENDED",
        )
    return found


def cancel(database: Database, operation_ids: Sequence[int], *, actor: str) -> Canceled:
    """Cancel what waits at once; ask what runs to stop."""
    with database.write() as session:
        return Canceled(*operations.cancel(session, operation_ids, actor=actor, now=utc_now()))


def retry(database: Database, operation_id: int, *, actor: str) -> str | None:
    """Let what waits run now (returns None), or ask again for what ended (returns the new request).

    Raises:
        NotFoundError: there is no such operation.
        ConflictError: it is running, or its site is paused.
    """
    with database.write() as session:
        row = history.get_operation(session, operation_id)
        operation = row.operation
        if operation.state == OperationState.RUNNING.value:
            raise ConflictError(f"operation {operation_id} is running", hint="Cancel it first.", code="E-OP-RUNNING")
        if operation.waiting_for == WaitingFor.RESUME.value:
            raise ConflictError(
                f"operation {operation_id} waits because {row.site_name} is paused",
                hint=f"`edgemgr queue resume {row.site_name}` lets it go on.",
                code="E-OP-PAUSED",
            )
        if operation.state == OperationState.QUEUED.value:
            operations.hurry(session, [operation_id], now=utc_now())
            return None
        kind = OperationKind(operation.kind)
        return submit(session, kind, operation.params, [operation.site_id], actor=actor).id
