"""A copy of k3s' SQLite datastore while k3s writes to it, by SQLite's online backup, checked afterwards.

A copy of the file alone is none: the newest changes are in the write-ahead log (sqlite.org/wal.html). The whole copy
is one step under one read transaction, so it is the state of one moment; k3s can go on writing meanwhile. With fewer
pages a step SQLite would begin anew at every write by another process (sqlite.org/backup.html).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from typing import NoReturn

from ansible_collections.edgemgr.edge.plugins.module_utils import sqlite_file
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove, sync_file

#: How long k3s may keep its datastore locked as a whole, in seconds.
LOCKED_S = 60.0
_STEP_LOCKED_S = 5.0
_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED (sqlite.org/rescode.html)
_BESIDE = ("-journal", "-wal", "-shm")


def copy(source: str, target: str, clock: Callable[[], float] = time.monotonic) -> None:
    """Copy the database `source` to the new file `target`, durably; `check` tells whether it is sound.

    Raises:
        EdgeError: it cannot be read, or not written (E-BACKUP-DATABASE).
    """
    deadline = clock() + LOCKED_S

    def end_wait(status: int, _remaining: int, _total: int) -> None:
        if status in _BUSY and clock() >= deadline:
            raise sqlite3.OperationalError(f"it stayed locked for {LOCKED_S:g} s")

    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.closing(_open(source, "ro")) as read, contextlib.closing(_open(target, "rw")) as written:
            written.execute("PRAGMA journal_mode=OFF")  # a copy that is cut off is thrown away
            written.execute("PRAGMA synchronous=OFF")  # synced below
            read.backup(written, pages=-1, progress=end_wait, sleep=0.1)
    except sqlite3.Error as exc:
        raise _refused(source, exc) from exc
    for ending in _BESIDE:
        remove(target + ending)
    sync_file(target)


def check(copied: str) -> int:
    """Run SQLite's integrity check over a database that nobody writes to; returns the number of its newest change.

    Raises:
        EdgeError: it is damaged, or is no datastore of k3s (E-BACKUP-INTEGRITY).
    """
    try:
        with contextlib.closing(_open(copied, "ro&immutable=1")) as database:
            said = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
            if said != ["ok"]:
                _damaged("; ".join(str(line) for line in said))
            (revision,) = database.execute("SELECT coalesce(max(id), 0) FROM kine").fetchone()
    except sqlite3.Error as exc:
        _damaged(str(exc))
    return int(revision)


def _open(path: str, mode: str) -> sqlite3.Connection:
    return sqlite_file.connect(path, mode, _STEP_LOCKED_S)


def _refused(source: str, exc: Exception) -> EdgeError:
    return EdgeError(
        "E-BACKUP-DATABASE",
        f"the datastore {source} cannot be copied: {exc}",
        "See whether k3s runs and the disk is sound (dmesg, df); older backups were left as they are.",
        BUDGETED,
    )


def _damaged(why: str) -> NoReturn:
    raise EdgeError(
        "E-BACKUP-INTEGRITY",
        f"the datastore is damaged, as SQLite says of its copy: {why}",
        "k3s still runs on it, but may not start again: restore the last good backup, and look at the node's disk.",
        NEVER,
    )
