from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from edgemgr.model import tables
from edgemgr.store import schema
from edgemgr.store.database import Database


def test_the_migrations_lead_to_the_tables_that_the_model_declares(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []


def test_a_migrated_database_needs_no_migration(database: Database) -> None:
    assert schema.upgrade(database) is False


def test_the_newest_revision_is_the_one_that_commands_look_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
