"""Backup: one backup of a Site that the appliance holds. Its bytes lie in the site's backup store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index
from sqlmodel import Field, SQLModel

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime, utc_now


class Backup(SQLModel, table=True):
    """One row per backup that was pulled whole and read back. Named by the attempt that took it."""

    __tablename__ = "backup"
    __table_args__ = (Index("backup_site_attempt", "site_id", "attempt", unique=True),)

    id: int | None = Field(default=None, sa_column=Column(GrowingNumber, primary_key=True))
    site_id: int = Field(foreign_key="site.id", ondelete="CASCADE")
    attempt: int = Field(sa_type=BigInteger)  #: grows with time, whatever a node's clock says
    digest: str  #: SHA-256 of its manifest, by which the store knows it
    taken_at: datetime = Field(sa_type=UtcDateTime)  #: by the node's clock
    pulled_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)  #: by ours; its age counts from here
    k3s_version: str
    datastore: str  #: `sqlite` or `etcd`
    size_bytes: int = Field(default=0, sa_type=BigInteger)  #: of its parts
    added_bytes: int = Field(default=0, sa_type=BigInteger)  #: by which the site's store grew for it
    #: Which server token it holds, by a number and never by itself: of the attempt that made or first saw that token.
    token: int | None = Field(default=None, sa_type=BigInteger)
    is_held: bool = False  #: never removed by the rule of retention
