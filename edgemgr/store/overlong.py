"""Pauses that a wrong clock has made longer than any pause may be."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import literal, update
from sqlmodel import Session, col

from edgemgr.model.operation import Operation, WaitingFor
from edgemgr.store.open_operations import LATER


def clip(session: Session, waiting_for: WaitingFor, *, latest: datetime, instead: datetime) -> int:
    """Let what waits for a moment after `latest`, the end of the longest pause of its kind, wait until `instead`.

    Returns how many did.
    """
    result = session.execute(
        update(Operation)
        .where(
            LATER,
            col(Operation.waiting_for) == literal(waiting_for.value, literal_execute=True),
            col(Operation.not_before) > latest,
        )
        .values(not_before=instead)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]
