"""Opening a file as an SQLite database, whatever its path looks like."""

from __future__ import annotations

import sqlite3


def connect(path: str, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Open it in a mode of SQLite's URIs (sqlite.org/uri.html): `ro`, `rw`, or `ro&immutable=1` where nobody writes.

    Every statement is a transaction of its own. Waits up to `timeout_s` for a lock.
    """
    place = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{place}?mode={mode}", uri=True, isolation_level=None, timeout=timeout_s)
