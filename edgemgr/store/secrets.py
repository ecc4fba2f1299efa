"""Sealed secrets of sites. What is written here is ciphertext; the plain text never meets the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Protocol

from sqlalchemy import insert
from sqlmodel import Session, col, delete, select

from edgemgr.model.sealed import Sealed
from edgemgr.model.secret import SealedSecret, Secret, SecretName
from edgemgr.model.timestamp import utc_now


class Sealer(Protocol):
    """What the store needs of a vault."""

    def seal(self, plain: Secret, *, context: str) -> Sealed:
        """Encrypt for one context."""

    def open_sealed(self, sealed: Sealed, *, context: str) -> Secret:
        """Decrypt for the same context."""


def put(session: Session, vault: Sealer, site_id: int, name: SecretName, secret: Secret) -> None:
    """Seal `secret` and keep it, in the place of an older one of that name."""
    erase(session, site_id, name)
    put_new(session, vault, [(site_id, name, secret)])


def put_new(session: Session, vault: Sealer, secrets: Iterable[tuple[int, SecretName, Secret]]) -> None:
    """Seal secrets of sites that have none of that name, in one statement: an import has a hundred thousand."""
    rows = [
        {
            **asdict(vault.seal(secret, context=_context(site_id, name))),
            "site_id": site_id,
            "name": name.value,
            "created_at": utc_now(),
        }
        for site_id, name, secret in secrets
    ]
    if rows:
        session.execute(insert(SealedSecret), rows)


def get(session: Session, vault: Sealer, site_id: int, name: SecretName) -> Secret | None:
    """Open a secret; None if there is none.

    Raises:
        VaultError: it cannot be opened.
    """
    row = session.get(SealedSecret, (site_id, name.value))
    if row is None:
        return None
    sealed = Sealed(key_id=row.key_id, wrapped_key=row.wrapped_key, nonce=row.nonce, ciphertext=row.ciphertext)
    return vault.open_sealed(sealed, context=_context(site_id, name))


def has(session: Session, site_id: int, name: SecretName) -> bool:
    """Whether there is one, without opening it."""
    query = select(SealedSecret.name).where(col(SealedSecret.site_id) == site_id, col(SealedSecret.name) == name.value)
    return session.exec(query).first() is not None


def erase(session: Session, site_id: int, *names: SecretName) -> bool:
    """Remove secrets; returns whether any was there."""
    gone = session.execute(
        delete(SealedSecret).where(
            col(SealedSecret.site_id) == site_id, col(SealedSecret.name).in_([name.value for name in names])
        )
    )
    return bool(gone.rowcount)  # type: ignore[attr-defined]  # a CursorResult has it


def _context(site_id: int, name: SecretName) -> str:
    return f"secret|{site_id}|{name.value}"
