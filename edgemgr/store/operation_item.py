"""An operation and an attempt as they are shown: the same fields on the command line, in the API and in the console.

Parameters are left out: a k3s configuration may hold secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation, OperationState


@dataclass(frozen=True)
class OperationItem:
    """An operation as lists show it."""

    id: int
    site: str
    kind: str
    state: str
    waiting_for: str  #: empty unless it is queued
    attempts: int
    created_at: datetime
    not_before: datetime
    deadline_at: datetime
    finished_at: datetime | None
    request: str
    actor: str
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, operation: Operation, site_name: str) -> OperationItem:
        """Take what is shown from the row."""
        return cls(
            id=operation.id or 0,
            site=site_name,
            kind=operation.kind,
            state=operation.state,
            waiting_for=operation.waiting_for if operation.state == OperationState.QUEUED.value else "",
            attempts=operation.attempts,
            created_at=operation.created_at,
            not_before=operation.not_before,
            deadline_at=operation.deadline_at,
            finished_at=operation.finished_at,
            request=operation.request,
            actor=operation.actor,
            code=operation.code,
            message=operation.message,
            hint=operation.hint,
        )


@dataclass(frozen=True)
class AttemptItem:
    """One attempt of an operation."""

    number: int
    id: int
    outcome: str  #: `running` as long as it has none
    changed: bool
    worker: str
    started_at: datetime
    finished_at: datetime | None
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptItem:
        """Take what is shown from the row."""
        return cls(
            number=attempt.number,
            id=attempt.id or 0,
            outcome=attempt.outcome or "running",
            changed=attempt.changed,
            worker=attempt.worker_id,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            code=attempt.code,
            message=attempt.message,
            hint=attempt.hint,
        )
