"""The datastore: a table as kine keeps it, in a SQLite file in WAL mode. What is in it is the cluster.

Columns and their meaning are kine's (k3s-io/kine, pkg/drivers/generic): every change is a new row, the newest row of
a name counts, and the row's number is the revision. Values are JSON here, where Kubernetes writes protobuf.
"""

from __future__ import annotations

import json
import sqlite3
import threading

from .encryption import Plain
from .journal import FatalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER,
    deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)""",
    "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)",
    "CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name, id)",
    "CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id, deleted)",
    "CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)",
    "CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)",
)
_KEPT_REVISIONS = 1000  # as kine's compaction keeps


class ConflictError(Exception):
    """The object changed since it was read."""


class Datastore:
    """All objects by name; safe to use from several threads. `changed` is notified after every write.

    What reads objects raises TransformError where one is sealed and `encryption` cannot open it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            FatalError: the file is damaged or cannot be opened.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.changed = threading.Condition(threading.RLock())
        self.writes = 0  #: how often anything was written since the start
        self.encryption = Plain()
        self._current: dict[str, tuple[int, int, bytes]] = {}  # name → created at, changed at, value
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            # A simulated power cut ends processes, not the kernel: what was written is there afterwards.
            self._db.execute("PRAGMA synchronous=NORMAL")
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._load()
        except sqlite3.Error as exc:
            raise FatalError(f"starting kubernetes: creating storage endpoint: building kine: {exc}") from exc

    def _load(self) -> None:
        rows = self._db.execute(
            "SELECT name, id, created, create_revision, value FROM kine"
            " WHERE id IN (SELECT max(id) FROM kine GROUP BY name) AND deleted = 0"
        )
        for name, number, created, create_revision, value in rows:
            self._current[name] = (number if created else create_revision, number, value)

    @property
    def revision(self) -> int:
        """The number of the newest row."""
        (number,) = self._db.execute("SELECT coalesce(max(id), 0) FROM kine").fetchone()
        return int(number)

    def get(self, name: str) -> dict[str, Any] | None:
        """A copy of an object with its resourceVersion, or None."""
        with self.changed:
            return self._object(name)

    def under(self, prefix: str) -> list[dict[str, Any]]:
        """Copies of all objects whose name begins so, by name."""
        with self.changed:
            return [self._object(name) or {} for name in sorted(self._current) if name.startswith(prefix)]

    def _object(self, name: str) -> dict[str, Any] | None:
        if name not in self._current:
            return None
        _, revision, value = self._current[name]
        found: dict[str, Any] = json.loads(self.encryption.opened(name, value))
        if "metadata" in found:
            found["metadata"]["resourceVersion"] = str(revision)
        return found

    def put(self, name: str, value: dict[str, Any], *, expected: str = "") -> dict[str, Any]:
        """Write an object and return it with its new resourceVersion; a write that changes nothing adds no row.

        Raises:
            ConflictError: `expected` is a resourceVersion, and not the present one.
        """
        stored = dict(value)
        if "metadata" in stored:
            stored["metadata"] = {k: v for k, v in stored["metadata"].items() if k != "resourceVersion"}
        encoded = json.dumps(stored, separators=(",", ":")).encode()
        with self.changed:
            created, revision, old = self._current.get(name) or (0, self._tombstone(name), b"")
            if expected and expected != str(revision):
                raise ConflictError(name)
            if not old or encoded != self.encryption.opened(name, old):
                sealed = self.encryption.sealed(name, encoded)
                number = self._insert(name, created, revision, sealed, old)
                self._current[name] = (created or number, number, sealed)
                self.changed.notify_all()
            return self._object(name) or {}

    def _tombstone(self, name: str) -> int:
        """The row that deleted an earlier object of this name: a new one follows it."""
        (number,) = self._db.execute("SELECT coalesce(max(id), 0) FROM kine WHERE name = ?", (name,)).fetchone()
        return int(number)

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self.changed:
            if name in self._current:
                created, revision, old = self._current.pop(name)
                self._insert(name, created, revision, old, old, deleted=1)
                self.changed.notify_all()

    def _insert(self, name: str, created: int, revision: int, value: bytes, old: bytes, *, deleted: int = 0) -> int:
        self.writes += 1
        cursor = self._db.execute(
            "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (name, int(not created), deleted, created, revision, value, old),
        )
        return int(cursor.lastrowid or 0)

    def compact(self) -> None:
        """Forget old revisions, as kine does every five minutes."""
        with self.changed:
            self._db.execute(
                "DELETE FROM kine WHERE id <= (SELECT max(id) FROM kine) - ?"
                " AND (deleted = 1 OR id NOT IN (SELECT max(id) FROM kine GROUP BY name))",
                (_KEPT_REVISIONS,),
            )
