"""Operation: a durable, cancellable request for one kind of change on one Site."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime, utc_now


class OperationKind(StrEnum):
    """What can be asked of a site; each has a playbook of that name, except `probe`, `pull` and `stage`."""

    PROBE = "probe"  #: look, through SSH and the Kubernetes API; changes nothing
    BOOTSTRAP = "bootstrap"  #: bring k3s to the wanted version on a site that has none, or converge the same version
    VERIFY = "verify"  #: look thoroughly, on the node itself; changes nothing
    RESET = "reset"  #: remove k3s and everything that we put there
    BACKUP = "backup"  #: take a backup of the cluster and keep it on the node; a `pull` follows
    PULL = "pull"  #: bring the newest backup of a node to the appliance
    RESTORE = "restore"  #: bring a cluster back from a backup, on its node or on one that replaces it
    ROTATE_CERTIFICATES = "rotate-certificates"  #: have k3s renew its leaf certificates, by a restart or with new keys
    ROTATE_TOKEN = "rotate-token"  #: have k3s draw a new server token, between two backups  # noqa: S105 - a kind
    STAGE = "stage"  #: bring what a bundle holds for a site into its node's content store; disturbs nothing
    TIDY = "tidy"  #: remove what old versions of k3s have left on a node, and make its datastore smaller
    UPGRADE = (
        "upgrade"  #: bring k3s to a version of a staged bundle; the node does it by itself and goes back if it must
    )


#: Kinds that move bytes for hours or days: workers carry them in a lane of their own, beside everything else.
TRANSFER_KINDS = (OperationKind.STAGE, OperationKind.PULL)

#: The code of an operation that waits while the node carries it out by itself, and tells its result later.
GOES_ON = "E-OP-GOES-ON"


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

    TRANSFER = -10  #: bytes that travel ahead; gives way to everything else at its site
    BACKGROUND = 0  #: refreshing what we know
    SCHEDULED = 10  #: rollouts
    INTERACTIVE = 20  #: an operator waits


class WaitingFor(StrEnum):
    """Why a queued operation does not run at this moment."""

    TURN = "turn"  #: a worker, or an earlier operation of the same site
    CONTACT = "contact"  #: the site does not answer
    BACKOFF = "backoff"  #: a failed attempt is repeated later
    RESUME = "resume"  #: an operator paused the site
    WINDOW = "window"  #: its transfer window is closed, or the hours of an upgrade have not come


_WAITS_FOR_TURN = "state = 'queued' AND waiting_for = 'turn'"
_WAITS_FOR_A_MOMENT = "state = 'queued' AND waiting_for IN ('contact','backoff','window')"


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
        # A poll touches what is ready and what has become due, and nothing else, however long the backlog: what
        # waits for its turn is in the first index in the order of claims, what waits for a moment in the second. The
        # columns that the condition fixes already stand in front so that SQLite prefers them without statistics; what
        # limits, zones and counts ask for stands behind, so that passing over a row does not read the table.
        Index(
            "operation_ready",
            "is_head",
            "state",
            "waiting_for",
            "priority",
            "turn",
            "id",
            "site_id",
            "kind",
            sqlite_where=text(f"is_head = 1 AND {_WAITS_FOR_TURN}"),
            postgresql_where=text(f"is_head AND {_WAITS_FOR_TURN}"),
        ),
        Index(
            "operation_later",
            "is_head",
            "state",
            "not_before",
            "waiting_for",
            sqlite_where=text(f"is_head = 1 AND {_WAITS_FOR_A_MOMENT}"),
            postgresql_where=text(f"is_head AND {_WAITS_FOR_A_MOMENT}"),
        ),
        Index(
            "operation_deadline",
            "deadline_at",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index("operation_site", "site_id", "id", "kind"),
        Index("operation_state_id", "state", "id"),
        Index("operation_kind", "kind", "id"),
        Index("operation_finished", "finished_at", "state", "id"),
        # When a site was last backed up is asked of each site every minute (store/backup_schedule_dues.py).
        Index(
            "operation_backup",
            "site_id",
            "created_at",
            "state",
            sqlite_where=text("kind = 'backup'"),
            postgresql_where=text("kind = 'backup'"),
        ),
        # Questions about the history are answered newest first: each of these ends in the id (store/operation_ways.py).
        Index("operation_request", "request", "id", "state", "waiting_for"),
        Index("operation_actor", "actor", "id"),
        Index("operation_code", "code", "id", sqlite_where=text("code <> ''"), postgresql_where=text("code <> ''")),
        Index("operation_created", "created_at", "id"),
        Index(
            "operation_waiting",
            "state",
            "waiting_for",
            "id",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
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
    turn: int = Field(default=0, sa_type=BigInteger)  #: order within a priority; requests that wait take turns by it
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
