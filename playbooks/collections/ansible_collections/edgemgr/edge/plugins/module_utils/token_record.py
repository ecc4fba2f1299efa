"""Which token this node's k3s has, told by a number: that of the attempt that made it, or saw it first.

The token itself is never told. What the node keeps to know one again is salted and slow to guess, for root alone, and
lies beside the token; it never leaves the node, not even with a backup.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout, token_seal
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, write_file

#: So many tokens are known again; each rotation adds one.
MOST = 50
_ROUNDS = 50_000
_SALT_BYTES = 16


def place() -> str:
    """Where it is kept."""
    return layout.STATE_DIR + "/token/known.json"


def number() -> int | None:
    """The number of the token at hand; None if nobody has noted it, or if there is none. Never fails."""
    password, known = _password(), _read()
    if not password or not known["tokens"]:
        return None
    digest = _hash(password, known["salt"])
    return next((int(each["number"]) for each in reversed(known["tokens"]) if each["hash"] == digest), None)


def see(attempt: int) -> int:
    """The number of the token at hand; one that is not known gets that of this attempt. Needs the fence."""
    found = number()
    if found is None:
        note(attempt)
        return attempt
    return found


def note(attempt: int) -> None:
    """Note the token at hand under a number. Needs the fence."""
    password, known = _password(), _read()
    if not password:
        return
    digest = _hash(password, known["salt"])
    others = [each for each in known["tokens"] if each["hash"] != digest]
    known["tokens"] = [*others, {"number": attempt, "hash": digest}][-MOST:]
    write_file(place(), json.dumps(known, indent=1).encode() + b"\n", 0o600, 0o700)


def _password() -> str:
    try:
        content = read_or_none(layout.DATA_DIR + "/server/token") or b""
    except OSError:
        return ""
    return token_seal.password_of(content.decode("utf-8", "replace"))


def _read() -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((read_or_none(place()) or b"").decode())
        bytes.fromhex(known["salt"])
        for each in known["tokens"]:
            int(each["number"])
            str(each["hash"])
    except (OSError, ValueError, KeyError, TypeError):  # nobody has noted one yet, or a disk has lost it
        return {"salt": os.urandom(_SALT_BYTES).hex(), "tokens": []}
    return known


@functools.lru_cache(maxsize=4)
def _hash(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex(salt), _ROUNDS).hex()
