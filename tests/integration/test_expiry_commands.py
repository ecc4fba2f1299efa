"""`edgemgr expiry` over a fleet, and what fills it: reports of nodes as they are settled."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli.main import app
from edgemgr.inventory.expiry_outlook import expiry_outlook
from edgemgr.model.backup import Backup
from edgemgr.model.cluster import Cluster, Health, Observation
from edgemgr.model.disk_history import DiskHistory, day_of
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.status.apply import apply_observation
from edgemgr.store import care
from edgemgr.store.database import Database, Session

GIB = 1 << 30
AGE = timedelta(days=7)


def told(now: datetime, leaf_days: float = 300) -> dict[str, Any]:
    return {
        "leaf_expires_at": f"{now + timedelta(days=leaf_days):%Y-%m-%dT%H:%M:%SZ}",
        "ca_expires_at": f"{now + timedelta(days=3000):%Y-%m-%dT%H:%M:%SZ}",
        "datastore": "sqlite",
        "disk_free_bytes": 60 * GIB,
        "disk_size_bytes": 100 * GIB,
        "checked_at": f"{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}",
    }


def add_site(session: Session, name: str, now: datetime, *, region: str = "emea", **facts: Any) -> int:
    site = Site(name=name, address=f"{name}.example", created_at=now - timedelta(days=50))
    session.add(site)
    session.flush()
    site_id = site.id or 0
    session.add(SiteLabel(site_id=site_id, key="region", value=region))
    version = facts.pop("version", "v1.37.1+k3s1")
    if version:
        session.add(Cluster(site_id=site_id, observed_at=now, k3s_version=version, facts=told(now) | facts))
    return site_id


def add_backup(session: Session, site_id: int, at: datetime) -> None:
    session.add(
        Backup(
            site_id=site_id,
            attempt=1,
            digest="d",
            taken_at=at,
            pulled_at=at,
            k3s_version="v1.37.1+k3s1",
            datastore="sqlite",
        )
    )


@pytest.fixture
def appliance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    with open_app(settings) as made:
        yield made.database


def run(*arguments: str) -> Result:
    if "--backup-age" not in arguments:
        arguments = ("--backup-age", "7d", *arguments)
    done = CliRunner().invoke(app, ["expiry", *arguments], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    return done


def rows(*arguments: str) -> list[tuple[str, str]]:
    return [(row["site"], row["what"]) for row in json.loads(run(*arguments, "-o", "json").stdout)["items"]]


@pytest.fixture
def fleet(appliance: Database) -> Database:
    """Four sites: one well, one whose certificate ends, one of an old version, one without k3s."""
    now = utc_now()
    with appliance.write() as session:
        for name, facts in {
            "well": {},
            "ends": {"leaf_expires_at": f"{now + timedelta(days=20):%Y-%m-%dT%H:%M:%SZ}", "region": "apac"},
            "old": {"version": "v1.31.4+k3s1"},
            "bare": {"version": ""},
        }.items():
            add_backup(session, add_site(session, name, now, **facts), now - timedelta(days=1))
    return appliance


def test_what_ends_next_comes_first_and_what_is_far_away_is_left_out(fleet: Database) -> None:
    assert rows() == [
        ("old", "kubernetes"),
        ("ends", "backup"),
        ("old", "backup"),
        ("well", "backup"),
        ("ends", "certificate"),
    ]
    assert rows("--within", "3d") == [("old", "kubernetes")]
    assert ("well", "ca") in rows("--within", "4000d")


def test_a_choice_of_sites_and_of_kinds_narrows_it(fleet: Database) -> None:
    assert rows("-l", "region=apac") == [("ends", "backup"), ("ends", "certificate")]
    assert rows("--what", "certificate", "--what", "kubernetes") == [("old", "kubernetes"), ("ends", "certificate")]
    assert rows("well") == [("well", "backup")]
    assert rows("--backup-age", "365d", "well") == []


def test_without_a_word_a_backup_may_be_twice_as_old_as_they_are_taken(
    fleet: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due_days() -> float:
        done = CliRunner().invoke(app, ["expiry", "well", "--what", "backup", "-o", "json"])
        (row,) = json.loads(done.stdout)["items"]
        return round((datetime.fromisoformat(row["at"]) - utc_now()) / timedelta(days=1), 2)

    assert due_days() == 1, "a day old, and one is taken each day"
    monkeypatch.setenv("EDGEMGR_BACKUP_INTERVAL_S", "0")
    assert due_days() == 6


def test_what_nobody_knows_is_counted_and_shown_on_request(fleet: Database) -> None:
    assert "not known: disk 3; 1 without k3s" in run().stderr
    dark = [row for row in json.loads(run("--unknown", "-o", "json").stdout)["items"] if row["at"] is None]
    assert [(row["site"], row["what"]) for row in dark] == [("ends", "disk"), ("old", "disk"), ("well", "disk")]
    assert "5 within 90d at 3 of 3 site(s), 1 over" in run().stderr


def test_the_table_says_when_how_long_where_what_and_how_old_the_facts_are(fleet: Database) -> None:
    first, *lines = run("--what", "certificate").stdout.splitlines()
    assert first.split() == ["AT", "LEFT", "SITE", "WHAT", "DETAIL", "TOLD"]
    (line,) = lines
    at, left, site, what = line.split()[:4]
    assert (left, site, what, line.split()[-1]) in {("20d", "ends", "certificate", "3d"), ("19d", "ends", what, "3d")}
    assert at == f"{utc_now() + timedelta(days=20):%Y-%m-%d}"
    assert max(map(len, run("--within", "4000d").stdout.splitlines())) <= 120


def observe(database: Database, site_id: int, at: datetime, health: Health = Health.HEALTHY, **facts: Any) -> None:
    version = "v1.37.1+k3s1" if health is Health.HEALTHY else None
    with database.write() as session:
        apply_observation(session, site_id, "site", Observation(at, health, k3s_version=version, facts=facts))


def test_days_of_reports_become_the_day_on_which_the_disk_is_full(database: Database) -> None:
    now = utc_now()
    with database.write() as session:
        site_id = add_site(session, "fills", now, version="")
    for back in reversed(range(10)):
        for hours in (2, 0):
            at = now - timedelta(days=back, hours=hours)
            observe(database, site_id, at, disk_free_bytes=(25 + back) * GIB, disk_size_bytes=100 * GIB)
        observe(database, site_id, now - timedelta(days=back), system_pods=6)  # a look at the API tells of no disk
    with database.read() as session:
        (facts,) = care.care_facts(session, [site_id])
    assert len(facts.disk) in (10, 11), "two looks of a day are one point, unless midnight was between them"
    found = expiry_outlook(database, [site_id], now=now, general_age=AGE)
    (disk,) = [row for row in found.rows if row.what == "disk"]
    assert disk.at is not None
    assert timedelta(days=18) < disk.at - now < timedelta(days=22)


def test_a_k3s_in_trouble_keeps_what_counts_then_and_a_k3s_that_is_gone_keeps_nothing(database: Database) -> None:
    now = utc_now()
    with database.write() as session:
        site_id = add_site(session, "troubled", now - timedelta(days=1), version="")
    observe(database, site_id, now - timedelta(hours=3), pods_ready=5, **told(now, leaf_days=-1))
    observe(database, site_id, now - timedelta(hours=2), Health.FAILING)
    with database.read() as session:
        cluster = session.get_one(Cluster, site_id)
        assert cluster.facts == told(now, leaf_days=-1), "its pods were those of a sound one"
    (first, *_) = expiry_outlook(database, [site_id], now=now, general_age=timedelta(days=90)).rows
    assert (first.what, first.detail) == ("certificate", "the API refuses everybody; a start of k3s renews it")
    observe(database, site_id, now - timedelta(hours=1), Health.UNKNOWN)
    assert expiry_outlook(database, [site_id], now=now, general_age=AGE).rows == ()


def test_ten_thousand_sites_are_looked_through_in_seconds(appliance: Database) -> None:
    now = utc_now()
    today = day_of(now)
    with appliance.write() as session:
        sites = [Site(name=f"store-{n:05}", address=f"store-{n}.example") for n in range(10_000)]
        session.add_all(sites)
        session.flush()
        ids = [site.id or 0 for site in sites]
        for n, site_id in enumerate(ids):
            points = [[today - back, (60 - back) * GIB + n * 7919 % GIB] for back in range(30)][::-1]
            session.add(Cluster(site_id=site_id, observed_at=now, k3s_version="v1.37.1+k3s1", facts=told(now)))
            session.add(DiskHistory(site_id=site_id, points=points))
    began_at = time.process_time()
    found = expiry_outlook(appliance, ids, now=now, general_age=AGE)
    took_s = time.process_time() - began_at
    assert len(found.rows) == 5 * 10_000
    assert took_s < 8, f"{took_s:.1f} s of CPU"
