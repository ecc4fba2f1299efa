"""Giving back the room that k3s' SQLite datastore keeps and does not use. Only while k3s is stopped.

SQLite keeps pages that became free for later (sqlite.org/lang_vacuum.html), so a datastore stays as large as it ever
was. The compact copy is made and checked beside the datastore, which is whole at every moment: one rename exchanges
them, and the old one keeps a name until k3s runs on the new one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import converge, layout, node_facts, service, sqlite_file
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove, sync_directory, sync_file

#: Below this part of free pages, or below this size, a stop of k3s is not worth it.
LEAST_FREE, LEAST_FREE_BYTES = 0.2, 16 << 20
_LOCKED_S = 30.0
_NEW, _BEFORE = ".edgemgr-new", ".edgemgr-before"


def database() -> str:
    """Where the datastore lies."""
    return layout.DATA_DIR + "/server/db/state.db"


def was_cut() -> bool:
    """Whether an earlier one was cut off: then k3s may be stopped."""
    return any(os.path.lexists(database() + ending) for ending in (_NEW, _BEFORE))


def free_bytes() -> tuple[int, int]:
    """Bytes in free pages, and in all of them; (0, 0) where there is no SQLite datastore. k3s may run meanwhile."""
    if not os.path.isfile(database()):
        return 0, 0
    try:
        with contextlib.closing(_open(database(), "ro")) as opened:
            page, free, pages = (
                int(opened.execute("PRAGMA " + name).fetchone()[0])
                for name in ("page_size", "freelist_count", "page_count")
            )
    except sqlite3.Error as exc:
        raise _refused(str(exc)) from exc
    return free * page, pages * page


def is_worth_it(free: int, whole: int) -> bool:
    """Whether a vacuum gives back enough."""
    return free >= LEAST_FREE_BYTES and free >= whole * LEAST_FREE


def refuse_without_room(whole: int, free: int, min_free_mib: int) -> None:
    """See that the compact copy fits beside the datastore.

    Raises:
        EdgeError: it does not (E-TIDY-ROOM); nothing was done.
    """
    there = node_facts.file_system(database())["free_bytes"]
    if there < whole - free + (min_free_mib << 20):
        raise EdgeError(
            "E-TIDY-ROOM",
            "{0} MiB are free; the compact copy takes {1} MiB, and {2} MiB are to stay free".format(
                there >> 20, (whole - free) >> 20, min_free_mib
            ),
            "Free some room on the node first.",
            NEVER,
        )


def vacuum(version: str, timeout_s: float) -> None:
    """Stop k3s, exchange the datastore for its compact copy, start k3s; or start it with what there was.

    Raises:
        EdgeError: the copy could not be made (E-TIDY-VACUUM) or k3s did not come up with it (E-TIDY-BACK): k3s runs
            with the old one then, or else the code says that it does not start.
    """
    service.systemctl("stop", layout.UNIT)
    try:
        refusal = _exchange()
    except OSError as exc:  # a full disk, a file system without links: k3s has to be started again all the same
        refusal = str(exc)
    _start_or_go_back(version, timeout_s)
    if refusal:
        raise _refused(refusal)


def finish_cut(version: str, timeout_s: float) -> None:
    """Start k3s after one that was cut off: the datastore in place is whole, whichever it is.

    Raises:
        EdgeError: as `vacuum`.
    """
    _start_or_go_back(version, timeout_s)


def _start_or_go_back(version: str, timeout_s: float) -> None:
    try:
        converge.bring_up("start", version, timeout_s)
    except EdgeError as exc:
        if not os.path.lexists(database() + _BEFORE):
            raise
        service.systemctl("stop", layout.UNIT)
        _put_back()
        converge.bring_up("start", version, timeout_s)
        _drop()
        raise EdgeError(
            "E-TIDY-BACK",
            f"k3s did not come up with the compact datastore, so the old one was put back: {exc.message}",
            "k3s runs as before. Read `journalctl -u k3s` on the node before you try again.",
            NEVER,
        ) from exc
    _drop()


def _exchange() -> str:
    """Make the copy, check it, give it the datastore's name; why not, else nothing."""
    path = database()
    _drop()
    try:
        with contextlib.closing(_open(path, "rw")) as opened:
            # What is in the log goes into the file; a log of the old file must not lie beside the new one.
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = _contents(opened)
            opened.execute("VACUUM INTO ?", (path + _NEW,))
        with contextlib.closing(_open(path + _NEW, "ro&immutable=1")) as made:
            said = [str(row[0]) for row in made.execute("PRAGMA integrity_check(3)")]
            after = _contents(made)
    except sqlite3.Error as exc:
        remove(path + _NEW)
        return str(exc)
    left = [
        ending for ending in ("-wal", "-journal") if os.path.exists(path + ending) and os.stat(path + ending).st_size
    ]
    if said != ["ok"] or after != before or left:
        remove(path + _NEW)
        return "; ".join([*said, *left]) if said != ["ok"] or left else "the copy has not the same contents"
    for ending in ("-wal", "-shm", "-journal"):
        remove(path + ending)
    status = os.stat(path)
    os.chown(path + _NEW, status.st_uid, status.st_gid)
    os.chmod(path + _NEW, status.st_mode & 0o777)
    sync_file(path + _NEW)
    os.link(path, path + _BEFORE)
    os.rename(path + _NEW, path)
    sync_directory(os.path.dirname(path))
    return ""


def _put_back() -> None:
    for ending in ("-wal", "-shm", "-journal"):
        remove(database() + ending)
    os.rename(database() + _BEFORE, database())
    sync_directory(os.path.dirname(database()))


def _drop() -> None:
    for ending in (_NEW, _NEW + "-journal", _BEFORE):
        remove(database() + ending)


def _contents(opened: sqlite3.Connection) -> list[Any]:
    """Enough to tell two states of it apart: every change has a number."""
    return list(opened.execute("SELECT count(*), coalesce(max(id), 0), coalesce(sum(length(value)), 0) FROM kine"))


def _open(path: str, mode: str) -> sqlite3.Connection:
    return sqlite_file.connect(path, mode, _LOCKED_S)


def _refused(why: str) -> EdgeError:
    return EdgeError(
        "E-TIDY-VACUUM",
        f"the datastore was not made smaller: {why}",
        "k3s runs on as before. If SQLite says that it is damaged, restore the last good backup.",
        BUDGETED,
    )
