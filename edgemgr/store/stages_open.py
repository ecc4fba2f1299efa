"""Stages that have not ended: how many of each bundle, how far they are together, and which come first in a list."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, select
from sqlmodel import Session, col

from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind, OperationState
from edgemgr.model.transfer import Transfer

_bundle_asked = col(Operation.params)["bundle"].as_string()


@dataclass(frozen=True)
class OpenStages:
    """The stages of one bundle that have not ended."""

    bundle: str
    running: int
    waiting: int
    done_bytes: int  #: of those that have counted their bytes
    total_bytes: int

    @property
    def sites(self) -> int:
        """All of them."""
        return self.running + self.waiting


def open_stages(session: Session) -> dict[str, OpenStages]:
    """Bundle → its stages that have not ended; bundles without any are left out."""
    is_counted = (col(Transfer.site_id) == col(Operation.site_id)) & (col(Transfer.bundle) == _bundle_asked)
    there = col(Transfer.held_bytes) + col(Transfer.sent_bytes)
    each = (
        select(
            _bundle_asked.label("bundle"),
            case((col(Operation.state) == OperationState.RUNNING.value, 1), else_=0).label("runs"),
            case((there < col(Transfer.total_bytes), there), else_=col(Transfer.total_bytes)).label("done"),
            col(Transfer.total_bytes).label("total"),
        )
        .select_from(Operation)
        .outerjoin(Transfer, is_counted)
        .where(_is_open())
        .subquery()  # PostgreSQL does not see that a JSON path with a parameter is what it was grouped by
    )
    rows = session.execute(
        select(
            each.c.bundle, func.sum(each.c.runs), func.count(), func.sum(each.c.done), func.sum(each.c.total)
        ).group_by(each.c.bundle)
    )
    return {
        bundle: OpenStages(bundle, int(runs), number - int(runs), int(done_bytes or 0), int(total_bytes or 0))
        for bundle, runs, number, done_bytes, total_bytes in rows
    }


def first_sites(session: Session, *, bundle: str | None = None, limit: int) -> list[int]:
    """Sites of the stages that have not ended, of one bundle or of all: those that run before those that wait."""
    running_first = case((col(Operation.state) == OperationState.RUNNING.value, 0), else_=1)
    query = select(col(Operation.site_id)).where(_is_open())
    if bundle is not None:
        query = query.where(_bundle_asked == bundle)
    return list(session.execute(query.order_by(running_first, col(Operation.id)).limit(limit)).scalars())


def _is_open() -> ColumnElement[bool]:
    return (col(Operation.kind) == OperationKind.STAGE.value) & col(Operation.state).in_(
        [state.value for state in OPEN_STATES]
    )
