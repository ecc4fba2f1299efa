"""WorkOrder: what was put on a stick for sites without a link, and what they confirmed by receipts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Column, ForeignKey
from sqlmodel import Field, SQLModel

from edgemgr.model.numbers import GrowingNumber
from edgemgr.model.timestamp import UtcDateTime, utc_now

#: Name of the key that signs work orders.
ORDER_KEY = "workorder"


class ApplianceKey(SQLModel, table=True):
    """A key pair of the appliance itself, made once; the private half sealed by the vault."""

    __tablename__ = "appliance_key"

    name: str = Field(primary_key=True)
    public_key: str  #: `ssh-ed25519 BASE64 COMMENT`
    key_id: str  #: which key encryption key wrapped it
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class WorkOrder(SQLModel, table=True):
    """One signed order. Numbers are never used again."""

    __tablename__ = "work_order"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, sa_column=Column(GrowingNumber, primary_key=True))
    digest: str = ""  #: SHA-256 of its signed line
    bundle: str  #: `PRODUCT/CHANNEL/NUMBER`
    content: dict[str, list[str]] = Field(default_factory=dict, sa_type=JSON)  #: architecture → digests, sorted
    size_bytes: int = Field(default=0, sa_type=BigInteger)  #: of all blobs
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str
    written_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  #: when the stick's directory was complete


class WorkOrderSite(SQLModel, table=True):
    """One site of an order, and its receipt once that has come: what lies there, since when, by which order."""

    __tablename__ = "work_order_site"

    order_id: int = Field(
        sa_column=Column(GrowingNumber, ForeignKey("work_order.id", ondelete="CASCADE"), primary_key=True)
    )
    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE", index=True)
    arch: str
    receipt_digest: str = ""  #: SHA-256 of the receipt's file; empty: owed
    received_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    received_by: str = ""
    staged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  #: by the node's clock, where it can be right
    copied_bytes: int = Field(default=0, sa_type=BigInteger)
