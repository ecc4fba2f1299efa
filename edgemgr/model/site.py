"""Site: one managed location, as an operator wants it. Never changed by what is observed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now

DEFAULT_PORT = 22
DEFAULT_USER = "root"


class Trust(StrEnum):
    """What we know of a site's host key."""

    UNKNOWN = "unknown"  #: nothing expected, nothing seen
    SEEN = "seen"  #: a key was collected and waits for an operator's word; no secret is sent
    PINNED = "pinned"  #: this key and no other
    MISMATCH = "mismatch"  #: another key than the pinned one answered: everything for the site stops


class Site(SQLModel, table=True):
    """Connection data, labels and desired state of one location with one node."""

    __tablename__ = "site"
    __table_args__ = (
        CheckConstraint("trust IN ('unknown','seen','pinned','mismatch')", name="site_trust"),
        Index("site_address", "address", "port"),
        Index("site_profile", "profile", "timezone"),
    )

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    address: str
    port: int = DEFAULT_PORT
    user: str = DEFAULT_USER
    jump_address: str | None = None
    jump_port: int | None = None
    jump_user: str | None = None
    jump_host_key: str | None = None  #: full public key line of the jump host, `ssh-ed25519 AAAA…`
    host_key: str | None = None  #: full public key line that is pinned, `ssh-ed25519 AAAA…`
    host_key_fingerprint: str | None = Field(default=None, index=True)  #: `SHA256:…` that is pinned
    host_key_seen: str | None = None  #: full public key line that last answered, if it is not the pinned one
    host_key_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    trust: str = Trust.UNKNOWN
    public_key: str | None = None  #: our own key for this site, made here; the private half is in the vault
    key_installed: bool = False  #: our key opens the site; a password is no longer kept
    profile: str | None = None
    arch: str | None = None  #: amd64, arm64 or arm, as expected
    timezone: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    notes: str | None = Field(default=None, sa_type=Text)
    k3s_version: str | None = None  #: the version that an operator asked for
    paused_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  #: nothing is begun here since then
    paused_why: str = ""  #: the reason that the operator gave
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class SiteLabel(SQLModel, table=True):
    """One key=value on a Site."""

    __tablename__ = "site_label"
    __table_args__ = (Index("site_label_key_value", "key", "value", "site_id"),)

    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE")
    key: str = Field(primary_key=True)
    value: str


class Group(SQLModel, table=True):
    """A saved selector. It may allow trust on first use, until a date."""

    __tablename__ = "site_group"

    name: str = Field(primary_key=True)
    selector: str
    trust_first_use_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
