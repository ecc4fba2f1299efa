"""What belongs to a token on the node: copied before a rotation, compared after it, put back where it must be.

Three things have to fit: the token's file, the passwords beside it (k3s starts with those, and refuses such as are
newer than its datastore says: k3s issue 4910), and the datastore, which k3s has sealed with the token.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_snapshot,
    backup_etcd,
    backup_sqlite,
    layout,
    node_datastore,
    sqlite_file,
    token_journal,
    token_seal,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    remove,
    sync_directory,
)

OLD, NEW, MIXED = "old", "new", "mixed"
_STATE_DB, _SNAPSHOT = "state.db", "etcd.snapshot"
_STAGED = "edgemgr-token"
_LOCKED_S = 10.0


def places() -> dict[str, str]:
    """Name in the copy → file on the node."""
    server = layout.DATA_DIR + "/server"
    return {"token": server + "/token", "agent-token": server + "/agent-token", "passwd": server + "/cred/passwd"}


def password() -> str:
    """The secret part of the token at hand; empty when there is none."""
    return _password(places()["token"])


def old_password() -> str:
    """The secret part of the token that was copied."""
    return _password(token_journal.copies() + "/token")


def take(kind: str, attempt: int) -> None:
    """Copy everything, durably, while k3s runs; needs the fence.

    Raises:
        EdgeError: the datastore cannot be copied, or its copy is damaged (as for a backup).
    """
    place = token_journal.copies()
    activation_snapshot.remove_tree(place)
    make_directory(place, 0o700)
    for name, path in places().items():
        if os.path.lexists(path):
            activation_snapshot.copy(path, place + "/" + name)
    if kind == node_datastore.SQLITE:
        backup_sqlite.copy(token_seal.database(), place + "/" + _STATE_DB)
        backup_sqlite.check(place + "/" + _STATE_DB)
    else:
        backup_etcd.copy(attempt, place + "/" + _SNAPSHOT)
    sync_directory(place)


def compare(kind: str) -> str:
    """Whether all that is there belongs to the old token, all to a new one, or some to each.

    etcd does not tell with which token it was sealed: there the files alone decide.
    """
    now, old = password(), old_password()
    if not now or _server_password() != now:
        return MIXED
    if kind == node_datastore.SQLITE:
        try:
            if token_seal.names(token_seal.database()) != {token_seal.name_for(now)}:
                return MIXED
        except sqlite3.Error:
            return MIXED
    return OLD if now == old else NEW


def put_back(kind: str, timeout_s: float) -> None:
    """Bring back what was copied; k3s stands still. May be cut off and repeated. The copy stays.

    The datastore is exchanged only where it does not open with the old token: what k3s wrote since then is kept else.

    Raises:
        EdgeError: k3s does not make its etcd from the snapshot.
    """
    for name, path in places().items():
        _exchange(token_journal.copies() + "/" + name, path)
    if kind == node_datastore.SQLITE:
        if compare(kind) != OLD:
            _put_back_sqlite()
    else:
        backup_etcd.reset(token_journal.copies() + "/" + _SNAPSHOT, timeout_s)


def _password(path: str) -> str:
    return token_seal.password_of((read_or_none(path) or b"").decode("utf-8", "replace"))


def _server_password() -> str:
    """What k3s takes for its own password at its start: rows of `PASSWORD,USER,NAME,GROUPS`."""
    text = (read_or_none(places()["passwd"]) or b"").decode("utf-8", "replace")
    rows = [line.split(",") for line in text.splitlines()]
    return next((row[0] for row in rows if row[1:2] == ["server"]), "")


def _exchange(copy: str, path: str) -> None:
    """Put a copied file in its place, with its times; one that was not there then goes."""
    directory, name = os.path.split(path)
    staged = f"{directory}/.{name}.{_STAGED}"
    activation_snapshot.remove_tree(staged)
    if os.path.lexists(copy):
        make_directory(directory, 0o700)
        activation_snapshot.copy(copy, staged)
        os.rename(staged, path)
    else:
        activation_snapshot.remove_tree(path)
    if os.path.isdir(directory):
        sync_directory(directory)


def _put_back_sqlite() -> None:
    """Exchange the datastore by one rename: a boot at any moment finds one, and would begin a new cluster else.

    What is in its log goes into the file first, so that the log can go: it must not lie beside another file.
    """
    path = token_seal.database()
    staged = f"{path}.{_STAGED}"
    remove(staged)
    activation_snapshot.copy(token_journal.copies() + "/" + _STATE_DB, staged)
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite_file.connect(path, "rw", _LOCKED_S)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for ending in ("-wal", "-shm", "-journal"):
        remove(path + ending)
    os.rename(staged, path)
    sync_directory(os.path.dirname(path))
