"""Secrets at rest: rows of ciphertext, and the one type that carries a plain secret through the code."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime, utc_now


class Secret:
    """A plain secret that does not show itself by accident: repr, str and formatting give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself; call this only where it is handed over."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretName(StrEnum):
    """What a sealed row holds."""

    PASSWORD = "password"  # noqa: S105 - the name of a kind of secret, erased once our key is installed
    FIRST_KEY = "first_key"  #: the operator's own key for the first login; erased once ours is installed
    PRIVATE_KEY = "private_key"  #: the key that was made here for this site


class SealedSecret(SQLModel, table=True):
    """One secret of one site, sealed by the vault; meaningless in another row."""

    __tablename__ = "secret"

    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    key_id: str  #: which key encryption key wrapped it
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
