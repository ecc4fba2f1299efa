"""Envelope encryption of secrets: a key of its own for every record, wrapped by the appliance's one key.

AES-256-GCM throughout (NIST SP 800-38D). A record is bound to its context, such as `secret|12|password`, as
associated data: moved to another row it cannot be opened. Keys and nonces are fresh at every write, so that no
nonce is ever used twice with one key.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgemgr.errors import VaultError
from edgemgr.model.sealed import Sealed
from edgemgr.model.secret import Secret
from edgemgr.vault.key_file import KEY_BYTES, read_or_make

_NONCE_BYTES = 12


class Vault:
    """Seals and opens secrets with one key encryption key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise RuntimeError(f"a vault key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = AESGCM(key)
        #: Short public name of the key: tells which key a record needs, and nothing about the key.
        self.key_id = hashlib.sha256(b"edgemgr key id\0" + key).hexdigest()[:16]

    @classmethod
    def open(cls, key_file: Path) -> Vault:
        """Open the vault of the key in `key_file`, which is made at first use.

        Raises:
            VaultError: the file cannot be read or made, belongs to somebody else, may be read by others, or is no key.
        """
        return cls(read_or_make(key_file))

    def seal(self, plain: Secret, *, context: str) -> Sealed:
        """Encrypt `plain` so that it opens for this context only."""
        record_key = AESGCM.generate_key(bit_length=8 * KEY_BYTES)
        nonce, wrap_nonce = os.urandom(_NONCE_BYTES), os.urandom(_NONCE_BYTES)
        bound = _bound(context, self.key_id)
        return Sealed(
            key_id=self.key_id,
            wrapped_key=wrap_nonce + self._key.encrypt(wrap_nonce, record_key, bound),
            nonce=nonce,
            ciphertext=AESGCM(record_key).encrypt(nonce, plain.reveal().encode(), bound),
        )

    def open_sealed(self, sealed: Sealed, *, context: str) -> Secret:
        """Decrypt what was sealed for this context.

        Raises:
            VaultError: sealed with another key (E-VAULT-KEY-MISSING), or damaged or moved (E-VAULT-DAMAGED).
        """
        if sealed.key_id != self.key_id:
            raise VaultError(
                f"a secret ({context}) was sealed with key {sealed.key_id}, this appliance has key {self.key_id}",
                hint="Put the key file that belongs to this database back in its place, or enter the secret again.",
                code="E-VAULT-KEY-MISSING",
            )
        bound = _bound(context, sealed.key_id)
        wrap_nonce, wrapped = sealed.wrapped_key[:_NONCE_BYTES], sealed.wrapped_key[_NONCE_BYTES:]
        try:
            record_key = self._key.decrypt(wrap_nonce, wrapped, bound)
            return Secret(AESGCM(record_key).decrypt(sealed.nonce, sealed.ciphertext, bound).decode())
        except (InvalidTag, ValueError) as exc:
            raise VaultError(
                f"a sealed secret ({context}) is damaged or does not belong where it was found",
                hint="Restore the database from a backup, or enter the secret again.",
                code="E-VAULT-DAMAGED",
            ) from exc


def _bound(context: str, key_id: str) -> bytes:
    return f"{context}|{key_id}".encode()
