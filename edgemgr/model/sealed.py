"""Sealed: one secret as ciphertext, between the vault that makes it and the store that keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sealed:
    """Worthless without the key named by `key_id` and the context it was sealed for."""

    key_id: str
    wrapped_key: bytes  #: nonce and ciphertext of the key of this one record
    nonce: bytes
    ciphertext: bytes
