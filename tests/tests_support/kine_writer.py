"""Writes to a SQLite file as k3s does, until it is ended: `kine_writer.py FILE [PREFIX]`.

Every change is a transaction that adds a row and keeps the tally row's sum right, so that a copy that was not of one
moment shows.
"""

from __future__ import annotations

import random
import sqlite3
import sys

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER,
    deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)""",
    "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)",
    "CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name, id)",
    "CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id, deleted)",
    "CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)",
    "CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)",
    "CREATE TABLE IF NOT EXISTS tally (one INTEGER PRIMARY KEY, changes INTEGER, bytes INTEGER)",
)


def connect(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute("INSERT OR IGNORE INTO tally VALUES (1, 0, 0)")
    return database


def change(database: sqlite3.Connection, dice: random.Random, *, objects: int = 200, prefix: str = "/registry") -> None:
    """Write one object anew, as the kubelet does with its lease and a controller with a status."""
    name = f"{prefix}/{dice.choice(('leases', 'events', 'pods', 'minions'))}/{dice.randrange(objects)}"
    value = dice.randbytes(dice.randrange(60, 400)) + b'"metadata":{"namespace":"default"},"status":{}' * 8
    database.execute("BEGIN IMMEDIATE")
    old = database.execute("SELECT id, value FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1", (name,)).fetchone()
    before, old_value = old or (0, b"")
    database.execute(
        "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)"
        " VALUES (?, ?, 0, 0, ?, 0, ?, ?)",
        (name, int(not before), before, value, old_value),
    )
    database.execute("UPDATE tally SET changes = changes + 1, bytes = bytes + ?", (len(value),))
    database.execute("COMMIT")


def compact(database: sqlite3.Connection, keep: int = 1000) -> None:
    """Forget old revisions, as kine does every five minutes."""
    database.execute(
        "DELETE FROM kine WHERE id <= (SELECT max(id) FROM kine) - ? AND id NOT IN"
        " (SELECT max(id) FROM kine GROUP BY name)",
        (keep,),
    )


def main() -> None:
    database = connect(sys.argv[1])
    dice = random.Random(1)  # noqa: S311 - repeatable
    prefix = sys.argv[2] if len(sys.argv) > 2 else "/registry"
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    while True:
        change(database, dice, prefix=prefix)


if __name__ == "__main__":
    main()
