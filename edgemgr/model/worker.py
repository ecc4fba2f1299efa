"""Worker: a process that runs Attempts, with an identity and a heartbeat."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now


class Worker(SQLModel, table=True):
    """Enough to tell a dead worker of this machine at once: process id with its start time, and the boot it ran in."""

    __tablename__ = "worker"

    id: str = Field(primary_key=True)
    host: str
    boot_id: str  #: /proc/sys/kernel/random/boot_id: another value means that the machine was restarted
    pid: int
    pid_started: int  #: start time of the process in clock ticks since boot; a reused pid has another
    version: str
    started_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    heartbeat_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    stopped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
