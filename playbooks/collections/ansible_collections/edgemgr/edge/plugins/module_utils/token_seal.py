"""With which token k3s' SQLite datastore was sealed, as the datastore itself tells.

k3s keeps its authorities and passwords there, encrypted with the password in its token, below `/bootstrap/` and the
first 12 hex digits of that password's SHA-256 (k3s-io/k3s, pkg/cluster/encrypt.go and storage.go). The name opens
nothing, but is no word to be told either: a weak password could be found by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3

from ansible_collections.edgemgr.edge.plugins.module_utils import layout, sqlite_file

LIVE, ALONE = "ro", "ro&immutable=1"
_PREFIX, _BEHIND = "/bootstrap/", "/bootstrap0"  # what begins so lies between the two, and an index finds it
_DIGITS = 12
_LOCKED_S = 10.0


def database() -> str:
    """Where the datastore lies."""
    return layout.DATA_DIR + "/server/db/state.db"


def password_of(token: str) -> str:
    """The secret part of a token, in its long form `K10…::server:PASSWORD` or its short one."""
    return token.strip().rpartition(":")[2]


def name_for(password: str) -> str:
    """Where k3s keeps what it sealed with this password."""
    return _PREFIX + hashlib.sha256(password.encode()).hexdigest()[:_DIGITS]


def names(path: str, mode: str = LIVE) -> set[str]:
    """All such places in a datastore; `ALONE` for a copy that nobody writes to.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    query = (
        "SELECT name FROM kine WHERE id IN"
        " (SELECT max(id) FROM kine WHERE name >= ? AND name < ? GROUP BY name) AND deleted = 0"
    )
    with contextlib.closing(sqlite_file.connect(path, mode, _LOCKED_S)) as opened:
        return {str(row[0]) for row in opened.execute(query, (_PREFIX, _BEHIND))}


def is_foreign(path: str, token: str, mode: str) -> bool:
    """Whether a datastore was sealed with another token; False where it does not tell, or cannot be read."""
    try:
        found = names(path, mode)
    except sqlite3.Error:
        return False
    return bool(found) and name_for(password_of(token)) not in found
