"""Conditions on open operations, written as the partial indexes of the table write them.

With a bound parameter (`state = ?`) neither database may use an index that is declared `WHERE state = 'queued'`
(sqlite.org/partialindex.html, part 3): the values stand in the statement itself.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, literal
from sqlmodel import col

from edgemgr.model.operation import Operation, OperationState, WaitingFor


def _is(state: OperationState) -> ColumnElement[bool]:
    return col(Operation.state) == literal(state.value, literal_execute=True)


def _waits(*reasons: WaitingFor) -> ColumnElement[bool]:
    values = [literal(reason.value, literal_execute=True) for reason in reasons]
    return col(Operation.waiting_for).in_(values) if len(values) > 1 else col(Operation.waiting_for) == values[0]


QUEUED = _is(OperationState.QUEUED)
RUNNING = _is(OperationState.RUNNING)
HEAD = col(Operation.is_head)
#: First in the line of its site and waiting for nothing but a worker.
READY = HEAD & QUEUED & _waits(WaitingFor.TURN)
#: First in the line of its site and waiting for a moment, which contact may bring forward.
LATER = HEAD & QUEUED & _waits(WaitingFor.CONTACT, WaitingFor.BACKOFF, WaitingFor.WINDOW)
OPERATIONS: Table = Operation.__table__  # type: ignore[attr-defined]  # every table class has it
#: What some sites have queued, found by site: left to itself, SQLite walks everything that is queued anywhere.
QUEUED_BY_SITE = (OPERATIONS, "INDEXED BY operation_one_queued_per_kind", "sqlite")
#: The heads of some sites, likewise.
HEAD_BY_SITE = (OPERATIONS, "INDEXED BY operation_one_head", "sqlite")
