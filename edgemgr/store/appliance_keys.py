"""Key pairs of the appliance itself; the private halves are ciphertext."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from edgemgr.model.sealed import Sealed
from edgemgr.model.secret import Secret
from edgemgr.model.work_order import ApplianceKey
from edgemgr.store.secrets import Sealer


def find(session: Session, name: str) -> ApplianceKey | None:
    """The key pair of that name; None as long as it was not made."""
    return session.get(ApplianceKey, name)


def put(session: Session, vault: Sealer, name: str, *, public: str, private: Secret) -> None:
    """Keep a new key pair; one that another process has made meanwhile stays."""
    sealed = vault.seal(private, context=_context(name))
    with suppress(IntegrityError), session.begin_nested():
        session.add(ApplianceKey(name=name, public_key=public, **asdict(sealed)))


def private_half(vault: Sealer, key: ApplianceKey) -> Secret:
    """Open the private half.

    Raises:
        VaultError: it cannot be opened.
    """
    sealed = Sealed(key_id=key.key_id, wrapped_key=key.wrapped_key, nonce=key.nonce, ciphertext=key.ciphertext)
    return vault.open_sealed(sealed, context=_context(key.name))


def _context(name: str) -> str:
    return f"appliance|{name}"
