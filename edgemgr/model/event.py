"""Event: immutable record of what happened. Audit trail and live feed are the same rows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime, utc_now


class EventType(StrEnum):
    """Whether somebody should look."""

    NORMAL = "normal"
    WARNING = "warning"


class Reason(StrEnum):
    """The closed list of things that can have happened."""

    SITE_CREATED = "SiteCreated"
    SITE_CHANGED = "SiteChanged"
    SITE_DELETED = "SiteDeleted"
    HOST_KEY_SEEN = "HostKeySeen"
    HOST_KEY_PINNED = "HostKeyPinned"
    HOST_KEY_MISMATCH = "HostKeyMismatch"
    ACCESS_KEY_INSTALLED = "AccessKeyInstalled"
    OPERATION_QUEUED = "OperationQueued"
    OPERATION_SUPERSEDED = "OperationSuperseded"
    OPERATION_CANCELED = "OperationCanceled"
    OPERATION_EXPIRED = "OperationExpired"
    OPERATION_SUCCEEDED = "OperationSucceeded"
    OPERATION_FAILED = "OperationFailed"
    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_UNREACHABLE = "AttemptUnreachable"
    ATTEMPT_FAILED = "AttemptFailed"
    ATTEMPT_LOST = "AttemptLost"
    SITE_BACK = "SiteBack"
    SITE_LOST_CONTACT = "SiteLostContact"
    HEALTH_CHANGED = "HealthChanged"
    SITE_PAUSED = "SitePaused"
    SITE_RESUMED = "SiteResumed"
    LIMIT_CHANGED = "LimitChanged"
    BACKUP_SCHEDULE_CHANGED = "BackupScheduleChanged"
    HISTORY_PRUNED = "HistoryPruned"
    CLOCK_JUMPED = "ClockJumped"
    WORKER_LOST = "WorkerLost"
    RELEASE_ADDED = "ReleaseAdded"
    GROUP_CHANGED = "GroupChanged"
    BUNDLE_IMPORTED = "BundleImported"
    BUNDLE_REFUSED = "BundleRefused"
    BUNDLE_REMOVED = "BundleRemoved"
    TRUST_CHANGED = "TrustChanged"
    TRUST_REFUSED = "TrustRefused"
    WORK_ORDER_WRITTEN = "WorkOrderWritten"
    RECEIPT_IMPORTED = "ReceiptImported"
    RECEIPT_REFUSED = "ReceiptRefused"


class Event(SQLModel, table=True):
    """Who did what to which thing, and when. No foreign keys: the record outlives its subject."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_site", "site_id", "id"),
        Index("event_operation", "operation_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, sa_column=Column(GrowingNumber, primary_key=True))
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    type: str = EventType.NORMAL
    reason: str
    message: str = Field(sa_type=Text)
    actor: str
    site_id: int | None = None
    site_name: str | None = None
    operation_id: int | None = Field(default=None, sa_type=BigInteger)
