"""Operations and their attempts as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OperationKind, OperationState, WaitingFor
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.selector_text import parse_filter
from edgemgr.store import history, operation_search, queries
from edgemgr.store.operation_item import AttemptItem, OperationItem
from edgemgr.web.api.envelope import ID_MAX, LIMIT_MAX, Document, Listing
from edgemgr.web.appliance import Appliance

router = APIRouter(tags=["operations"])


class OperationDocument(Document):
    """One operation with its attempts."""

    kind: str = "Operation"
    operation: OperationItem
    attempts: list[AttemptItem]


@router.get("/operations", operation_id="listOperations")
def list_operations(
    appliance: Appliance,
    *,
    site: Annotated[list[str] | None, Query(description="Only of this site; may be repeated.")] = None,
    filter: Annotated[str, Query(description="Only of sites that a filter as on the command line selects.")] = "",  # noqa: A002 - its name in the address
    state: Annotated[list[OperationState] | None, Query()] = None,
    kind: Annotated[list[OperationKind] | None, Query()] = None,
    waiting_for: WaitingFor | None = None,
    request: Annotated[str | None, Query(description="Only what one command asked for.")] = None,
    actor: Annotated[str | None, Query(description="Only what this user asked for.")] = None,
    code: Annotated[str | None, Query(description="Only what ended or waits with this code.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only what had an attempt that ended so.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Asked for since then.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Asked for before then.")] = None,
    ended_since: AwareDatetime | None = None,
    ended_until: AwareDatetime | None = None,
    due_before: Annotated[AwareDatetime | None, Query(description="Queued, and given up before then.")] = None,
    before: Annotated[int | None, Query(ge=1, le=ID_MAX, description="Only lower ids: the last of a page.")] = None,
    after: Annotated[int | None, Query(ge=0, le=ID_MAX, description="Only higher ids.")] = None,
    oldest_first: bool = False,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> Listing[OperationItem]:
    """Operations, the newest first. Page on with `before` or `after` the last id. A total of 10000: or more."""
    with appliance.database.read() as session:
        wanted = OperationFilter(
            site_ids=tuple(queries.ids_of_names(session, site)) if site else None,
            sites=parse_filter(filter) if filter else None,
            states=tuple(state or ()),
            kinds=tuple(kind or ()),
            waiting_for=waiting_for,
            request=request,
            actor=actor,
            code=code,
            outcome=outcome,
            since=since,
            until=until,
            ended_since=ended_since,
            ended_until=ended_until,
            due_before=due_before,
            before_id=before,
            after_id=after,
        )
        rows = operation_search.list_operations(session, wanted, limit=limit, oldest_first=oldest_first)
        total = operation_search.count_operations(session, wanted, most=operation_search.TOTAL_MAX)
    items = [OperationItem.of(row.operation, row.site_name) for row in rows]
    return Listing[OperationItem](kind="OperationList", items=items, total=total)


@router.get("/operations/{operation_id}", operation_id="getOperation")
def get_operation(appliance: Appliance, operation_id: Annotated[int, Path(ge=1, le=ID_MAX)]) -> OperationDocument:
    """One operation with each of its attempts."""
    with appliance.database.read() as session:
        row = history.get_operation(session, operation_id)
        attempts = history.attempts_of(session, operation_id)
    return OperationDocument(
        operation=OperationItem.of(row.operation, row.site_name),
        attempts=[AttemptItem.of(attempt) for attempt in attempts],
    )
