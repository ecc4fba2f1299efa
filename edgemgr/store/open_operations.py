"""Conditions on open operations, written as the partial indexes of the table write them.

With a bound parameter (`state = ?`) neither database may use an index that is declared `WHERE state = 'queued'`
(sqlite.org/partialindex.html, part 3): the values stand in the statement itself.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal
from sqlmodel import col

from edgemgr.model.operation import Operation, OperationState


def _is(state: OperationState) -> ColumnElement[bool]:
    return col(Operation.state) == literal(state.value, literal_execute=True)


QUEUED = _is(OperationState.QUEUED)
RUNNING = _is(OperationState.RUNNING)
HEAD = col(Operation.is_head)
