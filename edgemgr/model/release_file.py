"""ReleaseFile: one verified k3s release file in the appliance's own store."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now


class ReleaseFile(SQLModel, table=True):
    """A binary or an image archive of one k3s version for one architecture, addressed by digest."""

    __tablename__ = "release_file"

    version: str = Field(primary_key=True)
    arch: str = Field(primary_key=True)  #: amd64, arm64 or arm
    part: str = Field(primary_key=True)  #: binary or images
    name: str
    digest: str  #: SHA-256, hexadecimal
    size_bytes: int = Field(sa_type=BigInteger)
    added_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
