"""Bundle: a signed file that was taken in, what it holds, and which k3s versions sites can be given from it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now


class BundleState(StrEnum):
    """How far a bundle came."""

    IMPORTING = "importing"  #: its content is being taken in; an import that broke off goes on from what is there
    IMPORTED = "imported"  #: everything is there and trust was committed


class Bundle(SQLModel, table=True):
    """One bundle of a product and a channel, as its signed record says, and who took it in."""

    __tablename__ = "bundle"
    __table_args__ = (
        CheckConstraint("state IN ('importing','imported')", name="bundle_state"),
        UniqueConstraint("product", "channel", "number", name="bundle_name"),
    )

    id: int | None = Field(default=None, primary_key=True)
    product: str
    channel: str
    number: int = Field(sa_type=BigInteger)
    title: str
    k3s_versions: list[str] = Field(default_factory=list, sa_type=JSON)
    from_versions: list[str] = Field(default_factory=list, sa_type=JSON)  #: bounds: what sites may start from
    archs: list[str] = Field(default_factory=list, sa_type=JSON)
    root_name: str  #: the root that stands behind its signatures
    key_ids: list[str] = Field(default_factory=list, sa_type=JSON)  #: of the release keys that signed it
    targets_digest: str  #: SHA-256 of its signed targets: bundles with the same one hold the same
    digest: str = ""  #: SHA-256 of the whole file; empty until it was read
    size_bytes: int = Field(sa_type=BigInteger)  #: of the whole file
    created_at: datetime = Field(sa_type=UtcDateTime)  #: when it was signed
    expires_at: datetime = Field(sa_type=UtcDateTime)
    state: str = BundleState.IMPORTING
    begun_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    imported_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    imported_by: str = ""
    accepted_reason: str = Field(default="", sa_type=Text)  #: why an administrator took it although it had expired

    @property
    def name(self) -> str:
        """`PRODUCT/CHANNEL/NUMBER`."""
        return f"{self.product}/{self.channel}/{self.number}"


class BundleTarget(SQLModel, table=True):
    """One signed file of a bundle. Its bytes lie in the content store under its digest."""

    __tablename__ = "bundle_target"
    __table_args__ = (Index("bundle_target_digest", "digest", "bundle_id"),)

    bundle_id: int = Field(primary_key=True, foreign_key="bundle.id", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    kind: str
    digest: str  #: SHA-256, hexadecimal
    size_bytes: int = Field(sa_type=BigInteger)
    custom: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)  #: `TargetCustom` as JSON


class BundleRelease(SQLModel, table=True):
    """A k3s version for one architecture that a bundle holds whole: program and images."""

    __tablename__ = "bundle_release"
    __table_args__ = (Index("bundle_release_version", "version", "arch"),)

    bundle_id: int = Field(primary_key=True, foreign_key="bundle.id", ondelete="CASCADE")
    version: str = Field(primary_key=True)
    arch: str = Field(primary_key=True)
    archive_digest: str = ""  #: of the image archive made from its layers; empty: `release add` had brought one before
    archive_bytes: int = Field(default=0, sa_type=BigInteger)
