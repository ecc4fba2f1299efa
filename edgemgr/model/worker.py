"""Worker: a process that runs Attempts, with an identity and a heartbeat, which is the lease on all that it holds."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now


class Worker(SQLModel, table=True):
    """Enough to tell a dead worker of this machine at once: process id with its start time, and where it counts.

    `beats` only ever grows while the worker lives. Others judge it by the time, on a clock of their own that nobody
    can set, for which it has not grown: no two machines need to agree on the time of day.
    """

    __tablename__ = "worker"

    id: str = Field(primary_key=True)
    host: str
    boot_id: str  #: /proc/sys/kernel/random/boot_id: another value means another machine, or that it was restarted
    pid: int
    pid_namespace: str = ""  #: what /proc/self/ns/pid names: the same process id means another process elsewhere
    pid_started: int  #: start time of the process in clock ticks since boot; a reused pid has another
    version: str
    zones: str = ""  #: names of the zones that it serves, separated by commas; empty: every site
    beats: int = 0
    clock_jumps: int = 0  #: how often it saw the time of day jump
    started_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    heartbeat_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)  #: for people; decides nothing
    stopped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  #: it ended, or was given up for dead
