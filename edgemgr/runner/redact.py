"""Redaction by value: whatever a site or a program says, our secrets do not go into a log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgemgr.model.secret import Secret
from edgemgr.model.target import Target

#: shorter pieces would hide innocent words
_MIN_LENGTH = 6


class Redactor:
    """Replaces each secret, and each line of one of several lines (a key), by `***`."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        pieces = {
            line.strip()
            for secret in secrets
            for line in [secret.reveal(), *secret.reveal().splitlines()]
            if len(line.strip()) >= _MIN_LENGTH and not line.startswith("-----")
        }
        self._pattern = re.compile("|".join(map(re.escape, sorted(pieces, key=len, reverse=True)))) if pieces else None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub("***", text) if self._pattern else text


def redactor(target: Target) -> Redactor:
    """One that knows the secrets of a target."""
    return Redactor(secret for secret in (target.private_key, target.password) if secret is not None)
