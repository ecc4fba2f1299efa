"""Bandwidth limits and transfer windows: their rows, and letting go what waited for a window that was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import update
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError, UsageError
from edgemgr.model.event import Reason
from edgemgr.model.operation import Operation, WaitingFor
from edgemgr.model.transfer import TransferLimit, TransferWindow
from edgemgr.model.transfer_scope import TransferScope
from edgemgr.model.window import Window
from edgemgr.store import events
from edgemgr.store.claim import take_turn
from edgemgr.store.open_operations import QUEUED

Row = TypeVar("Row", TransferLimit, TransferWindow)


def limits(session: Session) -> dict[str, int]:
    """Scope → bytes a second, of all limits that were set."""
    return {row.scope: row.bytes_s for row in session.exec(select(TransferLimit).order_by(col(TransferLimit.scope)))}


def window_rows(session: Session) -> Sequence[TransferWindow]:
    """All windows that were set, in the order of their scopes."""
    return session.exec(select(TransferWindow).order_by(col(TransferWindow.scope))).all()


def windows(session: Session) -> dict[str, Window]:
    """Scope → window, of all that were set."""
    return {row.scope: Window.parse(row.hours, row.timezone) for row in window_rows(session)}


def put_limit(session: Session, scope: TransferScope, bytes_s: int, *, actor: str) -> None:
    """Set or change a limit; it holds within seconds for what runs too.

    Raises:
        UsageError: it would let nothing through (E-LIMIT-NUMBER).
    """
    if bytes_s < 1:
        raise UsageError(
            f"a limit of {bytes_s} bytes a second for {scope} would let nothing through",
            hint="Write 200K or 5M; to stop transfers, set a window, or cancel them.",
            code="E-LIMIT-NUMBER",
        )
    session.merge(TransferLimit(scope=str(scope), bytes_s=bytes_s))
    told = f"bandwidth of transfers, {scope}: {bytes_s} bytes a second"
    events.record(session, Reason.LIMIT_CHANGED, told, actor=actor)


def remove_limit(session: Session, scope: TransferScope, *, actor: str) -> None:
    """Take a limit away.

    Raises:
        NotFoundError: there is none for this scope (E-LIMIT-UNKNOWN).
    """
    _remove(session, TransferLimit, scope, "bandwidth limit")
    events.record(session, Reason.LIMIT_CHANGED, f"bandwidth of transfers, {scope}: no limit any more", actor=actor)


def put_window(session: Session, scope: TransferScope, hours: str, timezone: str, *, actor: str) -> None:
    """Set or change a window; transfers that run stop at the border of a chunk if it is closed now.

    Raises:
        InventoryError: it is no window (E-WINDOW, E-WINDOW-ZONE).
    """
    Window.parse(hours, timezone)
    session.merge(TransferWindow(scope=str(scope), hours=hours, timezone=timezone))
    told = f"transfer window, {scope}: {hours} ({timezone})"
    events.record(session, Reason.LIMIT_CHANGED, told, actor=actor)
    _let_go(session)


def remove_window(session: Session, scope: TransferScope, *, actor: str) -> None:
    """Take a window away.

    Raises:
        NotFoundError: there is none for this scope (E-LIMIT-UNKNOWN).
    """
    _remove(session, TransferWindow, scope, "transfer window")
    events.record(session, Reason.LIMIT_CHANGED, f"transfer window, {scope}: none any more", actor=actor)
    _let_go(session)


def _remove(session: Session, table: type[Row], scope: TransferScope, what: str) -> None:
    row = session.get(table, str(scope))
    if row is None:
        raise NotFoundError(
            f"there is no {what} for {scope}", hint="`edgemgr stage rules` shows them.", code="E-LIMIT-UNKNOWN"
        )
    session.delete(row)


def _let_go(session: Session) -> None:
    """What waits for a window asks anew whether it is open."""
    session.flush()
    take_turn(session)
    session.execute(
        update(Operation)
        .where(QUEUED, col(Operation.waiting_for) == WaitingFor.WINDOW.value)
        .values(waiting_for=WaitingFor.TURN.value)
    )
