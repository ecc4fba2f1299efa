"""Operations and their attempts as JSON. Parameters are left out: a k3s configuration may hold secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import OperationKind, OperationState, WaitingFor
from edgemgr.store import history, queries
from edgemgr.store.history import OperationRow
from edgemgr.web.api.envelope import LIMIT_MAX, OFFSET_MAX, Document, Listing
from edgemgr.web.appliance import Appliance

router = APIRouter(tags=["operations"])


class OperationItem(BaseModel):
    """An operation as lists show it."""

    id: int
    site: str
    kind: str
    state: str
    waiting_for: str
    attempts: int
    created_at: datetime
    not_before: datetime
    deadline_at: datetime
    finished_at: datetime | None
    request: str
    actor: str
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, row: OperationRow) -> OperationItem:
        """Take what is shown from the row."""
        operation = row.operation
        is_queued = operation.state == OperationState.QUEUED.value
        return cls(
            id=operation.id or 0,
            site=row.site_name,
            kind=operation.kind,
            state=operation.state,
            waiting_for=operation.waiting_for if is_queued else "",
            attempts=operation.attempts,
            created_at=operation.created_at,
            not_before=operation.not_before,
            deadline_at=operation.deadline_at,
            finished_at=operation.finished_at,
            request=operation.request,
            actor=operation.actor,
            code=operation.code,
            message=operation.message,
            hint=operation.hint,
        )


class AttemptItem(BaseModel):
    """One attempt of an operation."""

    number: int
    id: int
    outcome: str
    changed: bool
    worker: str
    started_at: datetime
    finished_at: datetime | None
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptItem:
        """Take what is shown from the row."""
        return cls(
            number=attempt.number,
            id=attempt.id or 0,
            outcome=attempt.outcome or "running",
            changed=attempt.changed,
            worker=attempt.worker_id,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            code=attempt.code,
            message=attempt.message,
            hint=attempt.hint,
        )


class OperationDocument(Document):
    """One operation with its attempts."""

    kind: str = "Operation"
    operation: OperationItem
    attempts: list[AttemptItem]


@router.get("/operations", operation_id="listOperations")
def list_operations(
    appliance: Appliance,
    *,
    site: Annotated[str, Query(description="Only of this site.")] = "",
    state: Annotated[list[OperationState] | None, Query()] = None,
    kind: Annotated[list[OperationKind] | None, Query()] = None,
    waiting_for: WaitingFor | None = None,
    request: Annotated[str | None, Query(description="Only what one command asked for.")] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> Listing[OperationItem]:
    """Operations, the newest first; `total` counts this page."""
    with appliance.database.read() as session:
        rows = history.list_operations(
            session,
            site_ids=queries.ids_of_names(session, [site]) if site else None,
            states=[item.value for item in state or ()],
            kinds=[item.value for item in kind or ()],
            request=request,
            waiting_for=waiting_for.value if waiting_for else None,
            limit=limit,
            offset=offset,
        )
    items = [OperationItem.of(row) for row in rows]
    return Listing[OperationItem](kind="OperationList", items=items, total=len(items))


@router.get("/operations/{operation_id}", operation_id="getOperation")
def get_operation(appliance: Appliance, operation_id: int) -> OperationDocument:
    """One operation with each of its attempts."""
    with appliance.database.read() as session:
        row = history.get_operation(session, operation_id)
        attempts = history.attempts_of(session, operation_id)
    return OperationDocument(
        operation=OperationItem.of(row), attempts=[AttemptItem.of(attempt) for attempt in attempts]
    )
