"""The list of operations: which ones an address asks for, and what is shown of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from edgemgr.model.operation import Operation, OperationKind, OperationState, WaitingFor
from edgemgr.store import history, queries
from edgemgr.store.database import Session
from edgemgr.store.history import OperationRow
from edgemgr.web.rendering import ago

PAGE_SIZE = 50
_PAGE_MAX = 1_000_000


class OperationQuery(BaseModel):
    """What an address asks for."""

    state: OperationState | None = None
    kind: OperationKind | None = None
    waiting_for: WaitingFor | None = None
    site: str = ""
    page: int = Field(1, ge=1, le=_PAGE_MAX)

    def url(self, base: str = "/operations", **changes: object) -> str:
        """The address of the same list with some changes; whatever changes, it begins at its newest page."""
        wanted = {**self.model_dump(mode="json", exclude_none=True, exclude={"page"}), **changes}
        kept = {key: value for key, value in wanted.items() if value not in ("", None)}
        return f"{base}?{urlencode(kept)}" if kept else base

    @property
    def is_narrowed(self) -> bool:
        """Some operations are left out."""
        return bool(self.state or self.kind or self.waiting_for or self.site)


@dataclass(frozen=True)
class OperationList:
    """One page of the list."""

    query: OperationQuery
    rows: list[OperationRow]
    has_older: bool
    open_counts: dict[str, int]  #: state or what is waited for → how many
    states: tuple[str, ...] = tuple(OperationState)
    kinds: tuple[str, ...] = tuple(OperationKind)
    waits: tuple[str, ...] = tuple(WaitingFor)

    @property
    def live_url(self) -> str:
        """Where this page refreshes itself from."""
        return self.query.url("/live/operations", page=self.query.page)


def read_operations(session: Session, query: OperationQuery) -> OperationList:
    """One page of operations, the newest first.

    Raises:
        NotFoundError: `query.site` names a site that does not exist.
    """
    rows = history.list_operations(
        session,
        site_ids=queries.ids_of_names(session, [query.site]) if query.site else None,
        states=[query.state.value] if query.state else (),
        kinds=[query.kind.value] if query.kind else (),
        waiting_for=query.waiting_for.value if query.waiting_for else None,
        limit=PAGE_SIZE + 1,
        offset=(query.page - 1) * PAGE_SIZE,
    )
    counts: dict[str, int] = {}
    for (state, waiting_for), number in history.open_counts(session).items():
        for word in (state, waiting_for) if state == OperationState.QUEUED.value else (state,):
            counts[word] = counts.get(word, 0) + number
    return OperationList(query, rows[:PAGE_SIZE], len(rows) > PAGE_SIZE, counts)


def waits(operation: Operation, now: datetime) -> str:
    """What a queued operation waits for, in words; empty for any other."""
    if operation.state != OperationState.QUEUED.value:
        return ""
    match operation.waiting_for:
        case WaitingFor.CONTACT:
            return "for contact"
        case WaitingFor.BACKOFF:
            return f"next try {ago(operation.not_before, now)}" if operation.not_before > now else "next try now"
        case _:
            return "for its turn"
