"""A key for much data: made once, kept beside that data, sealed by the vault.

AES-256-GCM with a random nonce for each piece (NIST SP 800-38D, 8.2.2: far below 2**32 pieces). A piece is bound to
the data's context and to what it is, so that one cannot be put in another's place.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgemgr.errors import VaultError
from edgemgr.model.sealed import Sealed
from edgemgr.model.secret import Secret
from edgemgr.vault.key_file import KEY_BYTES
from edgemgr.vault.vault import Vault

_NONCE_BYTES = 12
_BINARY = ("wrapped_key", "nonce", "ciphertext")


class DataKey:
    """Seals and opens pieces of data of one context."""

    def __init__(self, key: bytes, context: str) -> None:
        if len(key) != KEY_BYTES:
            raise RuntimeError(f"a data key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = AESGCM(key)
        self._context = context.encode() + b"|"

    @classmethod
    def open(cls, vault: Vault, path: Path, context: str) -> DataKey:
        """Open the key in the file `path`, which is made at first use.

        Raises:
            VaultError: sealed with another vault's key (E-VAULT-KEY-MISSING), or damaged, or made for another context
                (E-VAULT-DAMAGED).
            OSError: the file cannot be read or written.
        """
        if not path.exists():
            _make(vault, path, context)
        try:
            told = json.loads(path.read_bytes())
            sealed = Sealed(told["key_id"], *(base64.b64decode(told[name]) for name in _BINARY))
        except (ValueError, KeyError, TypeError) as exc:
            raise VaultError(
                f"the key file {path} is damaged",
                hint="Restore that file from a backup of the appliance; without it the data beside it cannot be read.",
                code="E-VAULT-DAMAGED",
            ) from exc
        return cls(bytes.fromhex(vault.open_sealed(sealed, context=context).reveal()), context)

    def seal(self, plain: bytes, *, what: bytes) -> bytes:
        """Encrypt a piece of data as what it is."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, plain, self._context + what)

    def open_sealed(self, sealed: bytes, *, what: bytes) -> bytes:
        """Decrypt a piece of data.

        Raises:
            ValueError: it is damaged, or it is something else.
        """
        try:
            return self._key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._context + what)
        except InvalidTag as exc:
            raise ValueError("it cannot be decrypted: damaged, or not what it should be") from exc


def _make(vault: Vault, path: Path, context: str) -> None:
    """Write the file under another name and link it into place: the first one wins, and nobody sees half of it."""
    told = asdict(vault.seal(Secret(os.urandom(KEY_BYTES).hex()), context=context))
    told.update({name: base64.b64encode(told[name]).decode("ascii") for name in _BINARY})
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - an open descriptor
            file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
