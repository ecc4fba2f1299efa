"""Answers to questions about the history: a page of operations, or how many there are, whatever the filter.

The way is chosen by counting: the one that leads to the fewest rows is taken, and what else is wanted is asked of
those. If all lead to many, the rows are walked in the order of ids until the page is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, select, true, union_all
from sqlmodel import Session, col

from edgemgr.model.operation import Operation
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.site import Site
from edgemgr.store.operation_ways import Way, id_bounds, ways

#: A way that leads to so few rows is taken at once: reading and sorting them takes a few milliseconds.
FEW = 2000

#: As far as the rows of a way are counted to find the best; so many are still read and sorted rather than all walked.
MANY = 25_000

#: The largest total that is counted for a page; a list that says so many has so many or more.
TOTAL_MAX = 10_000

_NUMBER = col(Operation.id)


@dataclass(frozen=True)
class OperationRow:
    """An operation with the name of its site."""

    operation: Operation
    site_name: str


def list_operations(
    session: Session, wanted: OperationFilter, *, limit: int, oldest_first: bool = False
) -> list[OperationRow]:
    """The newest operations that a filter wants, or the oldest; the last one's id is the cursor of the next page.

    Raises:
        NotFoundError: the filter names a group of sites that does not exist.
    """
    order = _NUMBER.asc() if oldest_first else _NUMBER.desc()
    runs = _runs(session, wanted, ordered=True, oldest_first=oldest_first)
    if not runs:  # of no site at all
        return []
    page = _together([run.order_by(order).limit(limit) for run in runs])
    chosen = select(page.c.id).order_by(page.c.id.asc() if oldest_first else page.c.id.desc()).limit(limit)
    rows = session.execute(
        select(Operation, col(Site.name))
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(_NUMBER.in_(chosen))
        .order_by(order)
    ).all()
    return [OperationRow(operation, name) for operation, name in rows]


def count_operations(session: Session, wanted: OperationFilter, *, most: int | None = None) -> int:
    """How many operations a filter wants; with `most`, counting stops there.

    Raises:
        NotFoundError: the filter names a group of sites that does not exist.
    """
    runs = _runs(session, wanted, ordered=False, oldest_first=False)
    if most is None:
        whole: int = sum(
            session.execute(run.with_only_columns(func.count(), maintain_column_froms=True)).scalar_one()
            for run in runs
        )
        return whole
    counted = 0
    for run in runs:
        counted += _at_most(session, run, most - counted)
        if counted >= most:
            break
    return counted


def _runs(session: Session, wanted: OperationFilter, *, ordered: bool, oldest_first: bool) -> list[Select[Any]]:
    """How a question is answered: a select of ids for each run of the best way."""
    bounds = id_bounds(session, wanted, oldest_first=oldest_first)
    found = ways(session, wanted, bounds)
    within = bounds.of(_NUMBER)
    way = _best(session, found, within, ordered=ordered)
    rest = [other.condition for other in found if other is not way]
    return way.ids(*rest, *within, *_times(wanted))


def _times(wanted: OperationFilter) -> list[ColumnElement[bool]]:
    """The bounds of ids come from these; a clock that was set back leaves rows in between that do not belong."""
    asked = col(Operation.created_at)
    since = [asked >= wanted.since] if wanted.since is not None else []
    return [*since, asked < wanted.until] if wanted.until is not None else since


def _best(session: Session, found: list[Way], within: list[ColumnElement[bool]], *, ordered: bool) -> Way:
    everything = Way.of(None, true())
    usable = [way for way in found if way.in_order or not ordered]
    if not found:
        return everything
    if len(found) == 1 and usable:
        return found[0]
    best, fewest = usable[0] if usable else everything, MANY
    for way in [everything, *found] if within else found:
        rows = _at_most(session, way.counted(*within), fewest)
        if rows < fewest:
            best, fewest = way, rows
        if fewest < FEW:
            break
    return best


def _at_most(session: Session, run: Select[Any], most: int) -> int:
    part = run.limit(most).subquery()
    counted: int = session.execute(select(func.count()).select_from(part)).scalar_one()
    return counted


def _together(runs: Sequence[Select[Any]]) -> Any:
    if len(runs) == 1:
        return runs[0].subquery()
    whole: CompoundSelect[Any] = union_all(*(select(run.subquery().c.id) for run in runs))
    return whole.subquery()
