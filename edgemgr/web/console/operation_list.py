"""The list of operations: which ones an address asks for, and what is shown of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from edgemgr.model.operation import OperationKind, OperationState, WaitingFor
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.store import history, operation_search, queries
from edgemgr.store.database import Session
from edgemgr.store.operation_item import OperationItem
from edgemgr.web.rendering import ago

PAGE_SIZE = 50
_ID_MAX = 2**63 - 1


class OperationQuery(BaseModel):
    """What an address asks for."""

    state: OperationState | None = None
    kind: OperationKind | None = None
    waiting_for: WaitingFor | None = None
    site: str = ""
    request: str = ""
    actor: str = ""
    code: str = ""
    before: int | None = Field(None, ge=1, le=_ID_MAX)  #: the page that follows this id

    def url(self, base: str = "/operations", **changes: object) -> str:
        """The address of the same list with some changes; whatever changes, it begins at its newest page."""
        wanted = {**self.model_dump(mode="json", exclude_none=True, exclude={"before"}), **changes}
        kept = {key: value for key, value in wanted.items() if value not in ("", None)}
        return f"{base}?{urlencode(kept)}" if kept else base

    @property
    def is_narrowed(self) -> bool:
        """Some operations are left out."""
        return bool(self.state or self.kind or self.waiting_for or self.site or self.narrowed_by)

    @property
    def narrowed_by(self) -> dict[str, str]:
        """What a click in a row narrowed the list to: field → value."""
        chosen = {"request": self.request, "actor": self.actor, "code": self.code}
        return {name: value for name, value in chosen.items() if value}


@dataclass(frozen=True)
class OperationList:
    """One page of the list."""

    query: OperationQuery
    items: list[OperationItem]
    has_older: bool
    open_counts: dict[str, int]  #: state or what is waited for → how many
    states: tuple[str, ...] = tuple(OperationState)
    kinds: tuple[str, ...] = tuple(OperationKind)
    waits: tuple[str, ...] = tuple(WaitingFor)

    @property
    def live_url(self) -> str:
        """Where this page refreshes itself from."""
        return self.query.url("/live/operations", before=self.query.before)

    @property
    def older_url(self) -> str | None:
        """The page after this one."""
        return self.query.url(before=self.items[-1].id) if self.has_older else None


def read_operations(session: Session, query: OperationQuery) -> OperationList:
    """One page of operations, the newest first.

    Raises:
        NotFoundError: `query.site` names a site that does not exist.
    """
    wanted = OperationFilter(
        site_ids=tuple(queries.ids_of_names(session, [query.site])) if query.site else None,
        states=(query.state,) if query.state else (),
        kinds=(query.kind,) if query.kind else (),
        waiting_for=query.waiting_for,
        request=query.request or None,
        actor=query.actor or None,
        code=query.code or None,
        before_id=query.before,
    )
    rows = operation_search.list_operations(session, wanted, limit=PAGE_SIZE + 1)
    counts: dict[str, int] = {}
    for (state, waiting_for), number in history.open_counts(session).items():
        for word in (state, waiting_for) if state == OperationState.QUEUED.value else (state,):
            counts[word] = counts.get(word, 0) + number
    items = [OperationItem.of(row.operation, row.site_name) for row in rows[:PAGE_SIZE]]
    return OperationList(query, items, len(rows) > PAGE_SIZE, counts)


def waits(operation: OperationItem, now: datetime) -> str:
    """What a queued operation waits for, in words; empty for any other."""
    if operation.state != OperationState.QUEUED.value:
        return ""
    match operation.waiting_for:
        case WaitingFor.RESUME:
            return "until the site is resumed"
        case WaitingFor.CONTACT:
            return "for contact"
        case WaitingFor.BACKOFF:
            return f"next try {ago(operation.not_before, now)}" if operation.not_before > now else "next try now"
        case WaitingFor.WINDOW:
            return f"for its window, {ago(operation.not_before, now)}" if operation.not_before > now else "for its turn"
        case _:
            return "for its turn"
