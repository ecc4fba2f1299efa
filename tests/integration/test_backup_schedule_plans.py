"""Looking for sites that are due reads what indexes find, however many sites, profiles and ended operations."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, text
from tests_support.queue_requests import NOW

from edgemgr.model.backup_schedule import BackupSchedule
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.queue.backup_rounds import ask_for_backups
from edgemgr.settings import Settings
from edgemgr.store import backup_schedules
from edgemgr.store.backup_schedule_dues import ScheduledSites, due_sites, zones_of
from edgemgr.store.backup_schedule_item import schedule_items
from edgemgr.store.database import Database

PROFILES = 5
ZONES = (None, "Europe/Berlin", "Asia/Tokyo", "America/New_York")
DAY = timedelta(days=1)
HOURS = "mon-fri 00:00-24:00"  #: NOW is a Friday


def fill(database: Database, sites: int) -> Database:
    """Sites of some profiles, each with a week of daily backups and as many probes; nobody is due yet."""
    numbers = range(1, sites + 1)
    ended = {
        "state": "succeeded", "batch_key": "k", "request": "r", "actor": "t", "params": {}, "deadline_at": NOW,
        "waiting_for": "", "not_before": NOW, "finished_at": NOW,
    }  # fmt: skip
    with database.write() as session:
        added = NOW - 30 * DAY
        session.execute(
            insert(Site),
            [
                {
                    "id": n,
                    "name": f"s{n}",
                    "address": f"a{n}",
                    "created_at": added,
                    "profile": f"p{n % PROFILES}" if n % PROFILES else None,
                    "timezone": ZONES[n // PROFILES % len(ZONES)],
                }
                for n in numbers
            ],
        )
        session.execute(
            insert(Cluster),
            [{"site_id": n, "reachability": "reachable", "k3s_version": "v1.33.5+k3s1"} for n in numbers],
        )
        session.execute(
            insert(Operation),
            [
                {**ended, "site_id": n, "kind": kind, "created_at": NOW - day * DAY - timedelta(hours=2)}
                for day in reversed(range(7))
                for kind in ("probe", "backup")
                for n in numbers
            ],
        )
        for number in range(1, PROFILES):
            schedule = BackupSchedule(profile=f"p{number}", interval_s=6 * 3600, hours=HOURS if number > 1 else None)
            backup_schedules.put(session, schedule, actor="test")
    if database.dialect == "postgresql":  # it gathers its statistics by itself, some minutes later
        with database.write() as session:
            session.connection().execute(text("ANALYZE"))
    return database


OTHERS = tuple(f"p{number}" for number in range(1, PROFILES))


@pytest.mark.parametrize(
    "sites",
    [
        pytest.param(ScheduledSites(6 * 3600, "p1"), id="at-any-time"),
        pytest.param(ScheduledSites(6 * 3600, "p2", lasts={None: 60.0, "Asia/Tokyo": None}), id="within-hours"),
        pytest.param(ScheduledSites(86400, others=OTHERS), id="the-others"),
    ],
)
def test_who_is_due_is_found_without_reading_the_operations(database: Database, sites: ScheduledSites) -> None:
    found = plans(fill(database, 2000), sites)
    assert "operation_backup" in found, found
    for bad in ("SCAN operation", "Seq Scan on operation"):
        assert bad not in found, found
    if sites.profile is not None and database.dialect == "sqlite":
        assert "SEARCH site USING INDEX site_profile" in found, found


def plans(database: Database, sites: ScheduledSites) -> str:
    """How the database goes about the statement, as it was sent."""
    sent: list[tuple[str, object]] = []

    def note(*args: object) -> None:
        if "asked_at" in str(args[2]):
            sent.append((str(args[2]), args[3]))

    event.listen(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.read() as session:
        due_sites(session, sites, now=NOW, limit=50)
        ((statement, values),) = sent
        event.remove(database.engine, "before_cursor_execute", note)
        return str(session.connection().exec_driver_sql(f"{explain} {statement}", values).all())


def test_a_round_over_ten_thousand_sites_takes_part_of_a_second_and_asks_fifty_of_them(
    database: Database, settings: Settings
) -> None:
    fill(database, 10_000)
    for now, number in ((NOW, 0), (NOW + 4 * DAY, 50)):  # nobody is due; all are
        began_at = time.perf_counter()
        assert ask_for_backups(database, settings, now) == number
        took_s = time.perf_counter() - began_at
        assert took_s < 4, f"{took_s:.2f} s"


def test_time_zones_and_numbers_of_profiles_are_read_from_an_index_alone(database: Database) -> None:
    fill(database, 500)
    with database.read() as session:
        assert set(zones_of(session, "p1")) == set(ZONES)
        items = schedule_items(session, general_s=86400.0)
    assert [(item.profile, item.sites) for item in items] == [*((name, 100) for name in OTHERS), (None, 100)]
    if database.dialect == "sqlite":
        with database.read() as session:
            query = "EXPLAIN QUERY PLAN SELECT profile, count(*) FROM site GROUP BY profile"
            assert "COVERING INDEX site_profile" in str(session.connection().exec_driver_sql(query).all())
