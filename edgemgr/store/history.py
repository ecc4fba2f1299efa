"""The read side of operations: lists, one operation with its attempts, and how a request gets on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import OPEN_STATES, Operation, OperationState
from edgemgr.model.site import Site
from edgemgr.store.open_operations import HEAD, QUEUED, RUNNING
from edgemgr.store.operation_search import OperationRow


@dataclass(frozen=True)
class Progress:
    """How the operations of one request stand."""

    counts: dict[str, int]  #: state → how many
    waiting: dict[str, int]  #: what queued ones wait for → how many
    waiting_examples: tuple[tuple[str, str, str], ...]  #: (site, what it waits for, why), a few
    failed_examples: tuple[tuple[str, str, str, str], ...]  #: (site, code, message, hint), a few

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def open(self) -> int:
        """Those that have not ended."""
        return sum(self.counts.get(state.value, 0) for state in OPEN_STATES)

    @property
    def succeeded(self) -> int:
        """Those that ended well."""
        return self.counts.get(OperationState.SUCCEEDED.value, 0)


def get_operation(session: Session, operation_id: int) -> OperationRow:
    """One operation.

    Raises:
        NotFoundError: there is none of that number.
    """
    row = session.exec(
        select(Operation, Site.name)
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(Operation.id == operation_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"there is no operation {operation_id}",
            hint="`edgemgr operation list` shows the newest ones.",
            code="E-OP-UNKNOWN",
        )
    return OperationRow(*row)


def attempts_of(session: Session, operation_id: int) -> Sequence[Attempt]:
    """The attempts of an operation, first to last."""
    return session.exec(select(Attempt).where(Attempt.operation_id == operation_id).order_by(col(Attempt.number))).all()


def progress(session: Session, request: str, *, examples: int = 3) -> Progress:
    """How a request gets on."""
    counts = session.exec(
        select(Operation.state, Operation.waiting_for, func.count())
        .where(Operation.request == request)
        .group_by(col(Operation.state), col(Operation.waiting_for))
    ).all()
    by_state: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for state, waiting_for, number in counts:
        by_state[state] = by_state.get(state, 0) + number
        if state == OperationState.QUEUED.value:
            waiting[waiting_for] = waiting.get(waiting_for, 0) + number
    held_up = session.exec(
        select(Site.name, Operation.waiting_for, Operation.message)
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(
            Operation.request == request,
            QUEUED,
            col(Operation.waiting_for).in_(["contact", "backoff"]),
        )
        .order_by(col(Operation.id))
        .limit(examples)
    ).all()
    failed = session.exec(
        select(Site.name, Operation.code, Operation.message, Operation.hint)
        .join(Site, col(Site.id) == col(Operation.site_id))
        .where(
            Operation.request == request,
            col(Operation.state).in_([OperationState.FAILED.value, OperationState.EXPIRED.value]),
        )
        .order_by(col(Operation.id))
        .limit(examples)
    ).all()
    return Progress(by_state, waiting, tuple(map(tuple, held_up)), tuple(map(tuple, failed)))  # type: ignore[arg-type]


def open_counts(session: Session) -> dict[tuple[str, str], int]:
    """(state, what it waits for) → how many, over everything that has not ended."""
    waiting = session.exec(
        select(Operation.waiting_for, func.count()).where(QUEUED).group_by(col(Operation.waiting_for))
    ).all()
    running = session.exec(select(func.count()).select_from(Operation).where(HEAD, RUNNING)).one()
    counts = {(OperationState.QUEUED.value, waiting_for): number for waiting_for, number in waiting}
    return {**counts, (OperationState.RUNNING.value, ""): running}


def open_of_request(session: Session, request: str) -> list[int]:
    """The operations of one request that have not ended."""
    found = session.exec(
        select(Operation.id).where(
            Operation.request == request, col(Operation.state).in_([state.value for state in OPEN_STATES])
        )
    ).all()
    return [number for number in found if number is not None]
