"""The ways by which a filter's operations can be found: each one index, and all of them lead to the same rows.

A condition that fixes the leading columns of an index which ends in the id gives its rows in the order of ids, so that
the newest fifty are read and no more. A condition on two values of such a column gives two runs in that order, and
what merges them sorts fifty rows of each. SQLite is told which index to take: without statistics it may choose one
that reads all there is. PostgreSQL has statistics, and chooses by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, true
from sqlmodel import Session, col

from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation
from edgemgr.model.operation_filter import OperationFilter
from edgemgr.model.site import Site
from edgemgr.store.open_operations import OPERATIONS, QUEUED
from edgemgr.store.selectors import condition

#: So many sites are read one by one, each in the order of ids; of more, the rows are put in order afterwards.
FEW_SITES = 20


@dataclass(frozen=True)
class Bounds:
    """Two ids, both excluded; None: no bound on that side."""

    above: int | None
    below: int | None

    def of(self, column: Any) -> list[ColumnElement[bool]]:
        """The conditions on a column that holds such ids."""
        above = [] if self.above is None else [column > self.above]
        return above if self.below is None else [*above, column < self.below]


@dataclass(frozen=True)
class Way:
    """One condition, and the index that finds what fulfils it.

    `runs` are conditions of which each row fulfils exactly one, and each gives its rows in the order of ids if
    `in_order`. `condition` says the same of a row that another way found; neither database may turn it into a way.
    """

    index: str | None  #: None: the primary key
    condition: ColumnElement[bool]
    runs: tuple[ColumnElement[bool], ...]
    in_order: bool = True
    entries: Select[Any] | None = None  #: what is counted instead of the rows, where another table has the index

    @classmethod
    def of(cls, index: str | None, *conditions: ColumnElement[bool], in_order: bool = True) -> Way:
        """A way of one run, whose rows fulfil all of the conditions."""
        whole = and_(*conditions)
        return cls(index, whole, (whole,), in_order)

    def ids(self, *conditions: ColumnElement[bool]) -> list[Select[Any]]:
        """The ids of each run's rows that fulfil the conditions too."""
        return [self._select(run, *conditions) for run in self.runs]

    def counted(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        """As many rows as this way leads to, or some more; cheap to count."""
        if self.entries is not None:
            return self.entries
        return self._select(self.runs[0] if len(self.runs) == 1 else self.condition, *conditions)

    def _select(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        hint = f"INDEXED BY {self.index}" if self.index else "NOT INDEXED"
        return select(col(Operation.id).label("id")).where(*conditions).with_hint(OPERATIONS, hint, "sqlite")


def ways(session: Session, wanted: OperationFilter, bounds: Bounds) -> list[Way]:
    """Every way that a filter offers, those first that usually lead to the fewest rows; none: it wants everything.

    What is counted of a way lies between the bounds, given by `id_bounds`.

    Raises:
        NotFoundError: `wanted.sites` names a group that does not exist.
    """
    found = [
        _request(wanted),
        _few_sites(wanted),
        _waiting(wanted),
        _due(wanted),
        _code(wanted),
        _many_sites(session, wanted),
        _outcome(wanted, bounds),
        _ended(wanted),
        _states(wanted),
        _actor(wanted),
        _kinds(wanted),
    ]
    return [way for way in found if way is not None]


def id_bounds(session: Session, wanted: OperationFilter, *, oldest_first: bool) -> Bounds:
    """The ids between which all that is wanted lies.

    Ids grow as operations are asked for: the time of asking becomes a bound of the id, which narrows every way.
    What ended before a moment was also asked for before it. How far back that was asked for which ended since a moment
    is looked up only where a list begins there: it reads the index of the whole time.
    """
    above, below = wanted.after_id, wanted.before_id
    if wanted.ended_since is not None and oldest_first:
        above = max(above or 0, _first_ended(session, wanted.ended_since) - 1)
    if wanted.since is not None:
        first = _edge(session, col(Operation.created_at) >= wanted.since, newest=False)
        above = max(above or 0, first - 1) if first is not None else _newest(session)
    moments = [moment for moment in (wanted.until, wanted.ended_until) if moment is not None]
    if moments:
        last = _edge(session, col(Operation.created_at) < min(moments), newest=True)
        below = min(below if below is not None else (last or 0) + 1, (last or 0) + 1)
    return Bounds(above, below)


def _edge(session: Session, condition: ColumnElement[bool], *, newest: bool) -> int | None:
    moment, number = col(Operation.created_at), col(Operation.id)
    order = (moment.desc(), number.desc()) if newest else (moment, number)
    found: int | None = session.execute(select(number).where(condition).order_by(*order).limit(1)).scalar()
    return found


def _first_ended(session: Session, moment: datetime) -> int:
    ended = select(col(Operation.id)).where(col(Operation.finished_at) >= moment).offset(0)  # kept apart from min()
    ended = ended.with_hint(OPERATIONS, "INDEXED BY operation_finished", "sqlite")
    return session.execute(select(func.min(ended.subquery().c.id))).scalar() or 0


def _newest(session: Session) -> int:
    return session.execute(select(col(Operation.id)).order_by(col(Operation.id).desc()).limit(1)).scalar() or 0


def _request(wanted: OperationFilter) -> Way | None:
    return None if wanted.request is None else Way.of("operation_request", col(Operation.request) == wanted.request)


def _few_sites(wanted: OperationFilter) -> Way | None:
    site_id = col(Operation.site_id)
    if wanted.site_ids is None:
        return None
    chosen = site_id.in_(wanted.site_ids)
    if len(wanted.site_ids) > FEW_SITES:
        return Way.of("operation_site", chosen, in_order=False)
    return Way("operation_site", chosen, tuple(site_id == number for number in wanted.site_ids))


def _many_sites(session: Session, wanted: OperationFilter) -> Way | None:
    if wanted.sites is None:
        return None
    chosen: Select[Any] = select(col(Site.id)).outerjoin(Cluster).where(condition(session, wanted.sites))
    among = col(Operation.site_id).in_(chosen)
    return Way("operation_site", among.is_(true()), (among,), in_order=False)


def _waiting(wanted: OperationFilter) -> Way | None:
    if wanted.waiting_for is None:
        return None
    return Way.of("operation_waiting", QUEUED, col(Operation.waiting_for) == wanted.waiting_for.value)


def _due(wanted: OperationFilter) -> Way | None:
    if wanted.due_before is None:
        return None
    return Way.of("operation_deadline", QUEUED, col(Operation.deadline_at) < wanted.due_before, in_order=False)


def _code(wanted: OperationFilter) -> Way | None:
    if wanted.code is None:
        return None
    code = col(Operation.code)
    return Way.of("operation_code", code != literal("", literal_execute=True), code == wanted.code)


def _outcome(wanted: OperationFilter, bounds: Bounds) -> Way | None:
    if wanted.outcome is None:
        return None
    having = select(col(Attempt.operation_id)).where(
        col(Attempt.outcome).is_not(None),
        col(Attempt.outcome) == wanted.outcome.value,
        *bounds.of(col(Attempt.operation_id)),
    )
    one = (
        select(col(Attempt.id))
        .where(col(Attempt.operation_id) == col(Operation.id), col(Attempt.outcome) == wanted.outcome.value)
        .with_hint(Attempt.__table__, "INDEXED BY attempt_operation_number", "sqlite")  # type: ignore[attr-defined]
        .limit(1)
        .correlate(Operation)
    )
    return Way(
        None, one.scalar_subquery().is_not(None), (col(Operation.id).in_(having),), in_order=False, entries=having
    )


def _ended(wanted: OperationFilter) -> Way | None:
    bounds: tuple[tuple[datetime | None, Any], ...] = (
        (wanted.ended_since, col(Operation.finished_at).__ge__),
        (wanted.ended_until, col(Operation.finished_at).__lt__),
    )
    conditions = [compare(moment) for moment, compare in bounds if moment is not None]
    return Way.of("operation_finished", *conditions, in_order=False) if conditions else None


def _states(wanted: OperationFilter) -> Way | None:
    state, chosen = col(Operation.state), sorted(set(wanted.states))
    return (
        Way("operation_state_id", state.in_(chosen), tuple(state == item.value for item in chosen)) if chosen else None
    )


def _kinds(wanted: OperationFilter) -> Way | None:
    kind, chosen = col(Operation.kind), sorted(set(wanted.kinds))
    return Way("operation_kind", kind.in_(chosen), tuple(kind == item.value for item in chosen)) if chosen else None


def _actor(wanted: OperationFilter) -> Way | None:
    return None if wanted.actor is None else Way.of("operation_actor", col(Operation.actor) == wanted.actor)
