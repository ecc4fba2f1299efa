"""The read side of operations: lists, one operation with its attempts, and how a request gets on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError
from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import OPEN_STATES, Operation, OperationState, WaitingFor
from edgemgr.model.site import DEFAULT_PORT, Site
from edgemgr.store.open_operations import HEAD, QUEUED


@dataclass(frozen=True)
class OperationRow:
    """An operation with the name of its site."""

    operation: Operation
    site_name: str


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


@dataclass(frozen=True)
class Contact:
    """Where a site that owes something can be tried without a login."""

    site_id: int
    name: str
    address: str
    port: int
    unreached: int  #: attempts in a row that did not reach it


def list_operations(
    session: Session,
    *,
    site_ids: Sequence[int] | None = None,
    states: Sequence[str] = (),
    kinds: Sequence[str] = (),
    request: str | None = None,
    waiting_for: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[OperationRow]:
    """Newest first."""
    query = select(Operation, Site.name).join(Site, col(Site.id) == col(Operation.site_id))
    if site_ids is not None:
        query = query.where(col(Operation.site_id).in_(list(site_ids)))
    if states:
        query = query.where(col(Operation.state).in_(list(states)))
    if kinds:
        query = query.where(col(Operation.kind).in_(list(kinds)))
    if request is not None:
        query = query.where(col(Operation.request) == request)
    if waiting_for is not None:
        query = query.where(col(Operation.waiting_for) == waiting_for, QUEUED)
    query = query.order_by(col(Operation.id).desc()).limit(limit).offset(offset)
    return [OperationRow(operation, name) for operation, name in session.exec(query).all()]


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
    rows = session.exec(
        select(Operation.state, Operation.waiting_for, func.count())
        .where(col(Operation.state).in_([state.value for state in OPEN_STATES]))
        .group_by(col(Operation.state), col(Operation.waiting_for))
    ).all()
    return {(state, waiting_for): number for state, waiting_for, number in rows}


def observed_before(session: Session, moment: datetime, *, limit: int) -> Sequence[int]:
    """Sites with k3s that were reachable and whose observation is older than `moment`, oldest first."""
    return session.exec(
        select(Cluster.site_id)
        .where(
            col(Cluster.observed_at) < moment,
            col(Cluster.k3s_version).is_not(None),
            col(Cluster.reachability) == Reachability.REACHABLE.value,
        )
        .order_by(col(Cluster.observed_at))
        .limit(limit)
    ).all()


def open_of_request(session: Session, request: str) -> list[int]:
    """The operations of one request that have not ended."""
    found = session.exec(
        select(Operation.id).where(
            Operation.request == request, col(Operation.state).in_([state.value for state in OPEN_STATES])
        )
    ).all()
    return [number for number in found if number is not None]


def has_open(session: Session, site_id: int) -> bool:
    """Whether anything is queued or running for a site."""
    head = select(Operation.id).where(col(Operation.site_id) == site_id, HEAD)
    return session.exec(head).first() is not None


def owing_contact(session: Session) -> list[Contact]:
    """Sites whose next operation waits for contact. Behind a jump host only the jump host can be tried."""
    rows = session.exec(
        select(Site, Operation.unreached)
        .join(Operation, col(Operation.site_id) == col(Site.id))
        .where(
            QUEUED,
            HEAD,
            col(Operation.waiting_for) == WaitingFor.CONTACT.value,
        )
    ).all()
    return [
        Contact(
            site_id=site.id or 0,
            name=site.name,
            address=site.jump_address or site.address,
            port=(site.jump_port or DEFAULT_PORT) if site.jump_address else site.port,
            unreached=unreached,
        )
        for site, unreached in rows
    ]
