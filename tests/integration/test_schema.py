from __future__ import annotations

import time

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from edgemgr.model import tables
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
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


def test_attempts_of_a_new_database_are_numbered_above_those_of_any_older_one(database: Database) -> None:
    before = time.time_ns() // 1_000_000 - 60_000
    assert _next_attempt(database) > before


def test_after_a_restore_attempts_can_be_numbered_above_what_sites_have_seen(database: Database) -> None:
    with database.write() as session:
        number = schema.renumber_attempts(session.connection())
    assert _next_attempt(database) == number
    with database.write() as session:
        assert schema.renumber_attempts(session.connection()) > number


def _next_attempt(database: Database) -> int:
    now = utc_now()
    with database.write() as session:
        site = Site(name="site-1", address="192.0.2.1")
        session.add(site)
        session.flush()
        operation = Operation(
            site_id=site.id or 0, kind="probe", batch_key="k", request="r", actor="test", deadline_at=now
        )
        session.add(operation)
        session.flush()
        attempt = Attempt(operation_id=operation.id or 0, number=1, worker_id="w", batch="b", lease_until=now)
        session.add(attempt)
        session.flush()
        return attempt.id or 0
