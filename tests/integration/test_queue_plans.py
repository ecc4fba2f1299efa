"""The statements that run every half second touch what is due and nothing else: the databases' own plans say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text
from sqlalchemy.dialects import postgresql, sqlite

from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.store.claim import _ready
from edgemgr.store.database import Database

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}


def plan(database: Database, statement: str) -> str:
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.read() as session:
        return str(session.connection().execute(text(f"{explain} {statement}")).all())


def fill(database: Database) -> None:
    """Sites with a history, and one operation each that waits for tomorrow."""
    tomorrow = NOW + timedelta(days=1)
    common = {"kind": "verify", "batch_key": "k", "request": "r", "actor": "t", "deadline_at": tomorrow, "params": {}}
    with database.write() as session:
        session.execute(insert(Site), [{"id": n, "name": f"s{n}", "address": f"a{n}"} for n in range(1, 2001)])
        session.execute(
            insert(Operation),
            [{**common, "site_id": n % 2000 + 1, "state": "succeeded", "not_before": NOW} for n in range(8000)]
            + [
                {**common, "site_id": n, "state": "queued", "is_head": True, "not_before": tomorrow}
                for n in range(1, 2001)
            ],
        )
    if database.dialect == "postgresql":  # it gathers its statistics by itself, some minutes later
        with database.write() as session:
            session.connection().execute(text("ANALYZE operation"))


def test_a_poll_reads_an_index_of_what_waits_and_not_the_table(database: Database) -> None:
    fill(database)
    statement = _ready(NOW).compile(
        dialect=DIALECTS[database.dialect], compile_kwargs={"render_postcompile": True, "literal_binds": True}
    )
    found = plan(database, str(statement))
    if database.dialect == "sqlite":
        assert "operation_due" in found
    else:  # with statistics PostgreSQL may find another index cheaper, by the numbers of the day
        assert "Index Scan" in found
        assert "Seq Scan" not in found
