"""The list of sites: which ones an address asks for, and what is shown of them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from edgemgr.errors import NotFoundError, UsageError
from edgemgr.model.cluster import Health, Reachability
from edgemgr.model.operation import OperationState
from edgemgr.model.selector import EVERY_SITE, Operator, Selector, Term
from edgemgr.model.selector_text import parse_filter
from edgemgr.store import queries
from edgemgr.store.database import Session
from edgemgr.store.queries import SiteRow
from edgemgr.web.faults import Fault

PAGE_SIZE = 50
_PAGE_MAX = 1_000_000
#: The words by which a list is narrowed with one click: field of the selector language → its values, worst first.
_FACETS: dict[str, tuple[str, ...]] = {
    "health": (Health.FAILING, Health.DEGRADED, Health.HEALTHY, Health.UNKNOWN),
    "reachability": (Reachability.UNREACHABLE, Reachability.REACHABLE, Reachability.UNKNOWN),
}


class SiteQuery(BaseModel):
    """What an address asks for. `q` is a filter as on the command line."""

    q: str = ""
    health: str = ""
    reachability: str = ""
    sort: str = "name"
    page: int = Field(1, ge=1, le=_PAGE_MAX)

    def url(self, base: str = "/sites", **changes: object) -> str:
        """The address of the same list with some changes; whatever changes, it begins at its first page."""
        wanted = {**self.model_dump(exclude_defaults=True, exclude={"page"}), **changes}
        kept = {key: value for key, value in wanted.items() if value not in ("", None)}
        return f"{base}?{urlencode(kept)}" if kept else base

    def sorted_by(self, key: str) -> str:
        """The address of the list sorted by a key; the other way round where it is sorted by it already."""
        return self.url(sort=f"-{key}" if self.sort == key else key)

    def direction(self, key: str) -> str:
        """The value of `aria-sort` for a column."""
        if self.sort.removeprefix("-") != key:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    @property
    def text(self) -> str:
        """All of it as one filter of the command line."""
        words = (f"{name}={value}" for name in _FACETS if (value := getattr(self, name)))
        return " ".join(filter(None, (self.q.strip(), *words)))

    @property
    def command(self) -> str:
        """The command that lists the same sites."""
        return f"edgemgr site list --filter {shlex.quote(self.text)}" if self.text else "edgemgr site list"

    @property
    def likely(self) -> str:
        """What was probably meant by a single word: a part of a name, not a label."""
        word = self.q.strip()
        is_word = word and word.replace("-", "").replace(".", "").isalnum()
        return f"name~{word}" if is_word else ""

    def selector(self, *, without: str = "") -> Selector:
        """Which sites are meant, one facet left aside where its numbers are counted.

        Raises:
            SelectorError: it cannot be read.
        """
        where = parse_filter(self.q)
        for name in _FACETS:
            if name != without and (value := getattr(self, name)):
                where &= parse_filter(f"{name}={shlex.quote(value)}")
        return where


@dataclass(frozen=True)
class Choice:
    """One value of a facet: how many sites have it among those that the rest of the query selects."""

    value: str
    count: int
    is_chosen: bool
    url: str


@dataclass(frozen=True)
class SiteList:
    """One page of the list."""

    query: SiteQuery
    rows: list[SiteRow]
    total: int
    page: int
    pages: int
    facets: dict[str, list[Choice]]
    is_empty_inventory: bool
    fault: Fault | None = None

    @property
    def first(self) -> int:
        """Number of the first row of this page."""
        return (self.page - 1) * PAGE_SIZE + 1

    @property
    def last(self) -> int:
        """Number of the last row of this page."""
        return self.first + len(self.rows) - 1

    @property
    def live_url(self) -> str:
        """Where this page refreshes itself from."""
        return self.query.url("/live/sites", page=self.page)


def read_sites(session: Session, query: SiteQuery) -> SiteList:
    """One page of sites. A query that cannot be carried out gives a list with a fault and no rows."""
    try:
        where = query.selector()
        rows, total = _page(session, query, where, query.page)
        pages = max(1, -(-total // PAGE_SIZE))
        page = min(query.page, pages)
        if page != query.page:
            rows, total = _page(session, query, where, page)
        facets = {name: _choices(session, query, name) for name in _FACETS}
    except (UsageError, NotFoundError) as exc:
        return SiteList(query, [], 0, 1, 1, {}, is_empty_inventory=False, fault=Fault.of(exc))
    is_empty = total == 0 and queries.list_sites(session, limit=1)[1] == 0
    return SiteList(query, rows, total, page, pages, facets, is_empty_inventory=is_empty)


def doing(row: SiteRow) -> tuple[str, str, str]:
    """What is under way at a site or what it waits for, as (tone, short, why)."""
    operation = row.operation
    if operation is None:
        return "", "", ""
    match operation.state:
        case OperationState.RUNNING:
            return "busy", f"{operation.kind} runs", ""
        case OperationState.QUEUED:
            waits = {"contact": "waits for contact", "backoff": "tries again soon", "window": "waits for its window"}
            return "wait", f"{operation.kind} {waits.get(operation.waiting_for, 'waits its turn')}", operation.message
        case _:
            return "bad", f"{operation.kind} {operation.state}", operation.message


def _page(session: Session, query: SiteQuery, where: Selector, page: int) -> tuple[list[SiteRow], int]:
    return queries.list_sites(session, where=where, sort=query.sort, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)


def _choices(session: Session, query: SiteQuery, name: str) -> list[Choice]:
    others = query.selector(without=name)
    chosen = getattr(query, name)
    return [
        Choice(
            value=value,
            count=_count(session, others & Selector((Term(name, Operator.IN, (value,), is_label=False),))),
            is_chosen=value == chosen,
            url=query.url(**{name: "" if value == chosen else value}),
        )
        for value in _FACETS[name]
    ]


def _count(session: Session, where: Selector = EVERY_SITE) -> int:
    return queries.list_sites(session, where=where, limit=0)[1]
