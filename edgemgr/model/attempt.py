"""Attempt: one numbered execution of an Operation by a Worker; immutable once settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from edgemgr.errors import Retry
from edgemgr.model.cluster import Observation
from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.operation import OperationState, WaitingFor
from edgemgr.model.timestamp import UtcDateTime, utc_now


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  #: something on the site or in the playbook went wrong
    REFUSED = "refused"  #: preflight said no; nothing was changed
    UNREACHABLE = "unreachable"  #: no connection, or it was lost
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"
    LOST = "lost"  #: its worker fell silent


class Attempt(SQLModel, table=True):
    """Its id is also the fencing token on the node: it only ever grows.

    Ids begin at the time at which the database was made, in milliseconds since 1970: an appliance that is set up anew
    for the same sites is above the one that it replaces, as long as that one made fewer than a thousand a second.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        CheckConstraint(
            "outcome IN ('succeeded','failed','refused','unreachable','timed_out','canceled','lost')",
            name="attempt_outcome",
        ),
        Index(
            "attempt_one_unsettled",
            "operation_id",
            unique=True,
            sqlite_where=text("outcome IS NULL"),
            postgresql_where=text("outcome IS NULL"),
        ),
        Index(
            "attempt_held",
            "worker_id",
            sqlite_where=text("outcome IS NULL"),
            postgresql_where=text("outcome IS NULL"),
        ),
        Index("attempt_operation_number", "operation_id", "number", unique=True),
        Index(
            "attempt_ended",
            "outcome",
            "operation_id",
            sqlite_where=text("outcome IS NOT NULL"),
            postgresql_where=text("outcome IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, sa_column=Column(GrowingNumber, primary_key=True))
    operation_id: int = Field(
        sa_column=Column(GrowingNumber, ForeignKey("operation.id", ondelete="CASCADE"), nullable=False)
    )
    number: int
    worker_id: str
    batch: str  #: name of the Batch that carried it, and of its work directory
    started_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str | None = None
    changed: bool = False
    code: str = ""
    message: str = Field(default="", sa_type=Text)
    hint: str = Field(default="", sa_type=Text)


@dataclass(frozen=True)
class AttemptResult:
    """The evidence of one attempt, read: what it came to and why."""

    outcome: Outcome
    code: str = ""
    message: str = ""
    hint: str = ""
    changed: bool = False
    retry: Retry = Retry.BUDGETED  #: NEVER: a repeat cannot help (host key, bundle, configuration)
    observation: Observation | None = None
    resume_at: datetime | None = None  #: it only waits for this moment, and nothing has failed
    resume_for: WaitingFor = WaitingFor.WINDOW  #: why it waits until then
    advanced: bool = False  #: before the link was lost it brought the work on, and so may the next one


@dataclass(frozen=True)
class RetryDecision:
    """What becomes of an operation after an attempt: the output of queue/retry.py."""

    state: OperationState
    not_before: datetime | None = None  #: with `queued` only
    waiting_for: WaitingFor | None = None  #: with `queued` only
    costs_attempt: bool = False
    costs_loss: bool = False
    reached: bool = True  #: the site answered: the pace of contact attempts starts anew
