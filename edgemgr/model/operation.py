"""Operation: a durable, cancellable request for one kind of change on one Site."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime, utc_now


class OperationKind(StrEnum):
    """What can be asked of a site; each has a playbook of that name, except `probe`."""

    PROBE = "probe"  #: look, through SSH and the Kubernetes API; changes nothing
    BOOTSTRAP = "bootstrap"  #: bring k3s to the wanted version on a site that has none, or converge the same version
    VERIFY = "verify"  #: look thoroughly, on the node itself; changes nothing
    RESET = "reset"  #: remove k3s and everything that we put there


class OperationState(StrEnum):
    """Where a request stands."""

    QUEUED = "queued"  #: waits: for its turn, for contact, for a backoff
    RUNNING = "running"  #: has exactly one unsettled Attempt
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"  #: its deadline passed before it could succeed


#: state → states that may follow. The CHECK constraint and the picture in docs/architecture.md say the same.
TRANSITIONS: dict[OperationState, frozenset[OperationState]] = {
    OperationState.QUEUED: frozenset({OperationState.RUNNING, OperationState.CANCELED, OperationState.EXPIRED}),
    OperationState.RUNNING: frozenset(
        {
            OperationState.SUCCEEDED,
            OperationState.FAILED,
            OperationState.CANCELED,
            OperationState.QUEUED,
            OperationState.EXPIRED,
        }
    ),
    OperationState.SUCCEEDED: frozenset(),
    OperationState.FAILED: frozenset(),
    OperationState.CANCELED: frozenset(),
    OperationState.EXPIRED: frozenset(),
}

OPEN_STATES = frozenset(state for state, following in TRANSITIONS.items() if following)
ENDED_STATES = frozenset(OperationState) - OPEN_STATES


class Priority:
    """Order between sites; higher goes first."""

    BACKGROUND = 0  #: refreshing what we know
    SCHEDULED = 10  #: rollouts
    INTERACTIVE = 20  #: an operator waits


class WaitingFor(StrEnum):
    """Why a queued operation does not run at this moment."""

    TURN = "turn"  #: a worker, or an earlier operation of the same site
    CONTACT = "contact"  #: the site does not answer
    BACKOFF = "backoff"  #: a failed attempt is repeated later


class Operation(SQLModel, table=True):
    """One request; its parameters are frozen when it is submitted."""

    __tablename__ = "operation"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued','running','succeeded','failed','canceled','expired')", name="operation_state"
        ),
        CheckConstraint("NOT is_head OR state IN ('queued','running')", name="operation_head_is_open"),
        CheckConstraint("state <> 'running' OR is_head", name="operation_running_is_head"),
        # One operation of a site is its head: the only one that may run. This one index is the site lock.
        Index(
            "operation_one_head",
            "site_id",
            unique=True,
            sqlite_where=text("is_head = 1"),
            postgresql_where=text("is_head"),
        ),
        Index(
            "operation_one_queued_per_kind",
            "site_id",
            "kind",
            unique=True,
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        # A poll touches heads that are due and nothing else, however long the backlog. The two columns that the
        # condition fixes already stand in front so that SQLite prefers this index without statistics.
        Index(
            "operation_due",
            "is_head",
            "state",
            "not_before",
            sqlite_where=text("is_head = 1"),
            postgresql_where=text("is_head"),
        ),
        Index(
            "operation_deadline",
            "deadline_at",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index("operation_site", "site_id", "id"),
        Index("operation_state_id", "state", "id"),
        Index("operation_request", "request", "state"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, sa_column=Column(GrowingNumber, primary_key=True))
    site_id: int = Field(foreign_key="site.id", ondelete="CASCADE")
    kind: str
    state: str = OperationState.QUEUED
    is_head: bool = False  #: first in the line of its site
    params: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    batch_key: str  #: operations with the same key may travel in one Batch
    priority: int = Priority.INTERACTIVE
    request: str  #: what one command submitted together; lets `--wait` find its own
    actor: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    not_before: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deadline_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0  #: attempts made
    spent: int = 0  #: attempts that counted against max_attempts
    max_attempts: int = 3
    lost: int = 0
    max_lost: int = 3
    unreached: int = 0  #: attempts in a row that did not reach the site; sets the pace of the next
    waiting_for: str = WaitingFor.TURN
    cancel_requested: bool = False
    code: str = ""  #: why it ended or waits, as a stable code
    message: str = Field(default="", sa_type=Text)
    hint: str = Field(default="", sa_type=Text)
