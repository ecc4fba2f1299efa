"""The statements that run every half second read what comes first in an index and sort nothing, whatever waits.

And those that are about a few sites find these sites, instead of walking all that waits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Select, event, insert, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col
from tests_support.queue_requests import NOW

from edgemgr.model.operation import Operation
from edgemgr.model.room import Room
from edgemgr.model.site import Site, SiteLabel
from edgemgr.store.attempts import outranked
from edgemgr.store.claim import due, in_line, ready_priorities
from edgemgr.store.contacts import Finding, note_findings
from edgemgr.store.database import Database, Session
from edgemgr.store.limits import outside_full
from edgemgr.store.operations import name_heads, wake
from edgemgr.store.retention import Kept, prunable
from edgemgr.store.upgrade_windows import hold_back
from edgemgr.store.zones import served_by

DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}
SITES = 2000
EVENTS = 6000


def plan(database: Database, statement: Select[*tuple[Any, ...]]) -> str:
    compiled = statement.compile(
        dialect=DIALECTS[database.dialect], compile_kwargs={"render_postcompile": True, "literal_binds": True}
    )
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.read() as session:
        return str(session.connection().execute(text(f"{explain} {compiled}")).all())


@pytest.fixture
def full(database: Database) -> Database:
    """Sites with a history, some that wait for their turn, the others for contact."""
    tomorrow = NOW + timedelta(days=1)
    common = {"kind": "verify", "batch_key": "k", "request": "r", "actor": "t", "deadline_at": tomorrow, "params": {}}
    ended = {**common, "state": "succeeded", "waiting_for": "", "is_head": False, "finished_at": NOW}
    waits = {**common, "state": "queued", "is_head": True, "finished_at": None}
    numbers = range(1, SITES + 1)
    with database.write() as session:
        session.execute(insert(Site), [{"id": n, "name": f"s{n}", "address": f"a{n}"} for n in numbers])
        session.execute(insert(SiteLabel), [{"site_id": n, "key": "vpn", "value": f"v{n % 9}"} for n in numbers])
        session.execute(
            insert(Operation),
            [{**ended, "site_id": n % SITES + 1, "not_before": NOW} for n in range(EVENTS)]
            + [
                {**waits, "site_id": n, "waiting_for": "turn" if n % 2 else "contact", "not_before": tomorrow}
                for n in numbers
            ],
        )
    if database.dialect == "postgresql":  # it gathers its statistics by itself, some minutes later
        with database.write() as session:
            session.connection().execute(text("ANALYZE"))
    return database


def assert_reads(found: str, index: str) -> None:
    assert index in found
    for bad in ("SCAN operation", "Seq Scan on operation", "TEMP B-TREE", "Sort"):
        assert bad not in found, found


def test_the_line_is_read_in_the_order_of_its_index(full: Database) -> None:
    assert_reads(plan(full, in_line(20, []).limit(50)), "operation_ready")


def test_what_limits_hold_back_is_left_out_without_reading_the_table(full: Database) -> None:
    room = Room({"label:vpn": 1, "kind:reset": 1}, max_running=100)
    for bucket in ("label:vpn=v1", "label:vpn=v2", "kind:reset"):
        room.take(bucket)
    found = plan(full, in_line(20, outside_full(room)).limit(50))
    assert_reads(found, "operation_ready")
    assert "COVERING" in found or "Index Only Scan" in found


@pytest.mark.parametrize("zones", [["emea"], ["emea", "default"]])
def test_a_worker_of_a_zone_reads_the_same_line(full: Database, zones: list[str]) -> None:
    assert_reads(plan(full, in_line(20, served_by(zones)).limit(50)), "operation_ready")


def test_looking_whether_anything_is_ready_reads_one_entry(full: Database) -> None:
    assert_reads(plan(full, ready_priorities().limit(1)), "operation_ready")


def test_what_becomes_due_is_found_in_the_index_of_what_comes_later(full: Database) -> None:
    assert_reads(plan(full, due(NOW).limit(50)), "operation_later")


def hold_back_upgrades(session: Session) -> None:
    picked = list(range(EVENTS + 1, EVENTS + 100, 2))
    hours = {"window": "22:00-06:00", "version": "v1.34.1+k3s1"}
    session.execute(update(Operation).where(col(Operation.id).in_(picked)).values(kind="upgrade", params=hours))
    assert hold_back(session, picked, NOW) == len(picked)


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda session: name_heads(session, [7, 8]), id="who-is-first"),
        pytest.param(lambda session: wake(session, [7, 8], now=NOW), id="wake"),
        pytest.param(lambda session: note_findings(session, [Finding(7, "E", "why")]), id="findings"),
        pytest.param(lambda session: outranked(session, "w", now=NOW), id="what-gives-way"),
        pytest.param(lambda session: prunable(session, list(range(1, 21)), Kept(1, NOW)), id="history"),
        pytest.param(hold_back_upgrades, id="upgrades"),
    ],
)
def test_what_concerns_some_sites_is_found_by_site(full: Database, question: Callable[[Session], object]) -> None:
    """On SQLite, which chooses without statistics."""
    if full.dialect != "sqlite":
        pytest.skip("PostgreSQL has statistics and chooses by itself")
    statements: list[tuple[str, tuple[object, ...]]] = []
    event.listen(full.engine, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
    with full.write() as session:
        question(session)
        read = [
            (statement, str(session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()))
            for statement, values in list(statements)
            if not statement.startswith("BEGIN")
        ]
    assert read
    for statement, found in read:
        for bad in ("SCAN operation", "SCAN event", "(state=?", "(operation_id=?", "(kind=?"):
            assert bad not in found.replace("(kind=? AND id=?", ""), (statement, found)  # which finds one row
