"""The schema of the database, carried forward by Alembic from the first table on."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from edgemgr.errors import StoreError
from edgemgr.store.database import Database

#: The newest migration. Kept here so that a command need not load Alembic to see that nothing is to be done.
HEAD = "0001"

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
