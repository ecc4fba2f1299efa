"""The schema of the database, carried forward by Alembic from the first table on."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from edgemgr.errors import StoreError
from edgemgr.store.database import Database

#: The newest migration. Kept here so that a command need not load Alembic to see that nothing is to be done.
HEAD = "0008"

_MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(database: Database) -> str | None:
    """The revision that the database has; None for an empty one.

    Raises:
        StoreError: the database cannot be reached.
    """
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        revision: str | None = session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def upgrade(database: Database) -> bool:
    """Bring the schema to this version; returns whether anything was to be done.

    Several processes may call it at once: the migration runs inside one transaction that holds the write lock.

    Raises:
        StoreError: the database is newer than this program, or the migration failed (nothing was changed then).
    """
    revision = current_revision(database)
    if revision == HEAD:
        return False
    if revision is not None and revision > HEAD:
        raise StoreError(
            f"the database has schema {revision}, this edgemgr knows {HEAD}",
            hint="Use the newer edgemgr that wrote it, or restore a backup made before that upgrade.",
            code="E-STORE-NEWER",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with database.engine.connect() as connection, connection.begin():
            if database.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7340617)"))
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
    except SQLAlchemyError as exc:
        raise StoreError(
            f"the schema could not be brought from {revision or 'nothing'} to {HEAD}: {exc}",
            hint="Nothing was changed. Report this with the output of `edgemgr doctor`.",
            code="E-STORE-MIGRATION",
        ) from exc
    return True


def renumber_attempts(connection: Connection) -> int:
    """Let the next attempt's number be the present time in milliseconds, if that is ahead; returns it.

    Nodes refuse attempts with a lower number than they have seen. A database that is new, or was restored from a
    backup, must therefore not count on from where it stands.
    """
    number = time.time_ns() // 1_000_000
    last = connection.execute(text("SELECT max(id) FROM attempt")).scalar() or 0
    if last >= number:
        return int(last) + 1
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ALTER SEQUENCE attempt_id_seq RESTART WITH {number}"))
    else:
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = 'attempt'"))
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES ('attempt', :seq)"), {"seq": number - 1}
        )
    return number
