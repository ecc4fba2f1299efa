"""The state of a cluster, copied while k3s stands still, and put back.

Nothing is emptied before the copy has been found whole, and what is replaced is kept beside its place: a state that
was there is never lost by going back.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import stat
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    remove,
    sha256_of,
    sync_directory,
    sync_file,
    write_file,
)

RECORD = "snapshot.json"
_STAGED = "edgemgr-restore"
_ASIDE = "edgemgr-new-state-"


def take(place: str, facts: dict[str, Any]) -> int:
    """Copy everything to the directory `place`; the bytes that it takes. `facts` are kept with it.

    Raises:
        EdgeError: there is no datastore, or SQLite finds it damaged.
    """
    remove_tree(place)
    make_directory(place, 0o700)
    for name, path in activation_paths.parts().items():
        if os.path.lexists(path):
            copy(path, place + "/" + name)
    _check_datastore(place + "/db")
    contents = contents_of(place)
    record = {"contents": contents, "facts": facts}
    write_file(place + "/" + RECORD, json.dumps(record, sort_keys=True).encode() + b"\n", 0o600)
    return sum(each[0] for each in contents.values() if isinstance(each[0], int))


def facts(place: str) -> dict[str, Any]:
    """What was noted with the snapshot.

    Raises:
        EdgeError: the snapshot was not finished.
    """
    return dict(_record(place)["facts"])


def restore(place: str, label: str) -> None:
    """Put a snapshot back in the place of what is there; k3s stands still. May be cut off and repeated.

    What is there is kept under names with `label`, unless the disk has no room for both.

    Raises:
        EdgeError: the snapshot is damaged; then nothing was touched.
    """
    if contents_of(place) != _record(place)["contents"]:
        raise EdgeError("E-UPGRADE-SNAPSHOT", f"the snapshot {place} is damaged", "Restore a backup.", NEVER)
    try:
        _put_back(place, label, keeps=True)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _put_back(place, label, keeps=False)


def drop_unfinished(place: str) -> None:
    """Remove a copy that was not finished."""
    if not os.path.exists(place + "/" + RECORD):
        remove_tree(place)


def unmovable() -> list[str]:
    """Places that cannot be exchanged by a rename: file systems of their own, and links to elsewhere."""
    places = activation_paths.parts().values()
    return [path for path in places if os.path.ismount(path) or os.path.islink(path)]


def drop_evidence() -> None:
    """Remove what earlier restores have put aside."""
    for path in activation_paths.parts().values():
        directory, prefix = os.path.dirname(path), f".{os.path.basename(path)}.{_ASIDE}"
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            if name.startswith(prefix):
                remove_tree(directory + "/" + name)


def copy(source: str, target: str) -> None:
    """Copy a file or a tree with owners, permissions and times, durably; sockets stay behind.

    Times matter: k3s refuses TLS files that are newer than what its datastore says (k3s issue 4910).
    """
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(target, 0o700)
        for name in sorted(os.listdir(source)):
            copy(source + "/" + name, target + "/" + name)
        _like(source, target, status)
        sync_directory(target)
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, target)
        _like(source, target, status)
        sync_file(target)


def contents_of(place: str) -> dict[str, list[Any]]:
    """Every file below a directory: name → [size, sha256], every link: name → [target]; not the record itself."""
    found: dict[str, list[Any]] = {}
    for directory, _, names in os.walk(place):
        for name in names:
            path = directory + "/" + name
            key = os.path.relpath(path, place)
            if os.path.islink(path):
                found[key] = [os.readlink(path)]
            elif key != RECORD:
                found[key] = [os.path.getsize(path), sha256_of(path)]
    return found


def remove_tree(path: str) -> None:
    """Remove a file, a link or a directory, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        remove(path)


def _put_back(place: str, label: str, keeps: bool) -> None:
    for name, path in activation_paths.parts().items():
        directory, base = os.path.split(path)
        staged, aside = f"{directory}/.{base}.{_STAGED}", f"{directory}/.{base}.{_ASIDE}{label}"
        source = place + "/" + name
        if not os.path.isdir(directory):
            make_directory(directory)
        remove_tree(staged)
        if not keeps:
            remove_tree(aside)
            remove_tree(path)
        if os.path.lexists(source):
            copy(source, staged)
        if os.path.lexists(path):
            if os.path.lexists(aside):  # was put back before, by a process that was cut off
                remove_tree(path)
            else:
                os.rename(path, aside)
        if os.path.lexists(staged):
            os.rename(staged, path)
        sync_directory(directory)


def _check_datastore(directory: str) -> None:
    """SQLite's own check of the copy. Closing it leaves one file that holds everything, without a log beside it."""
    path = directory + "/state.db"
    if not os.path.exists(path):
        if os.path.isdir(directory + "/etcd"):
            return
        raise EdgeError("E-UPGRADE-DATASTORE", "there is no datastore to copy", "Is this k3s a server?", NEVER)
    try:
        database = sqlite3.connect(path, isolation_level=None)
        try:
            found = [row[0] for row in database.execute("PRAGMA quick_check")]
            if found == ["ok"]:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            database.close()
    except sqlite3.Error as exc:
        found = [str(exc)]
    if found != ["ok"]:
        message = "SQLite finds the datastore damaged: {0}".format("; ".join(map(str, found))[:300])
        raise EdgeError("E-UPGRADE-DATASTORE", message, "Restore a backup of this site.", NEVER)
    sync_file(path)
    sync_directory(directory)


def _record(place: str) -> dict[str, Any]:
    content = read_or_none(place + "/" + RECORD)
    if content is None:
        raise EdgeError("E-UPGRADE-SNAPSHOT", f"there is no whole snapshot in {place}", "Restore a backup.", NEVER)
    found: dict[str, Any] = json.loads(content.decode())
    return found


def _like(source: str, target: str, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)
