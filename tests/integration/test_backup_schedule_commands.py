"""`edgemgr backup schedule` as an operator types it, and what `edgemgr expiry` makes of it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests_support.console_fleet import add_cluster, add_site
from typer.testing import CliRunner, Result

from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.model.backup import Backup
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import events
from edgemgr.store.database import Database

DAY = timedelta(days=1)


@pytest.fixture
def fleet(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Two shops, a mast and a site without a profile; k3s at all of them."""
    monkeypatch.setenv("EDGEMGR_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("EDGEMGR_DATABASE_URL", database.url.render_as_string(hide_password=False))
    for name, profile in (("shop-1", "shops"), ("shop-2", "shops"), ("mast-1", "masts"), ("lone", None)):
        add_cluster(database, add_site(database, name, profile=profile, created_at=utc_now() - 50 * DAY))
    return database


def run(*words: str) -> Result:
    done = CliRunner().invoke(app, ["backup", "schedule", *words])
    assert done.exit_code == 0, (done.exception, done.output)
    return done


def refused(*words: str) -> EdgemgrError:
    done = CliRunner().invoke(app, ["backup", "schedule", *words])
    assert isinstance(done.exception, EdgemgrError), done.output
    return done.exception


def rows() -> list[tuple[Any, ...]]:
    items = json.loads(run("list", "-o", "json").stdout)["items"]
    return [(row["profile"], row["interval_s"], row["hours"], row["source"], row["sites"]) for row in items]


def test_every_profile_in_use_is_listed_with_what_holds_for_it(fleet: Database) -> None:
    assert run("list").stdout.splitlines() == [
        "PROFILE  EVERY  WITHIN  FROM     SITES",
        "masts    1d     -       setting  1",
        "shops    1d     -       setting  2",
        "-        1d     -       setting  1",
    ]


def test_a_schedule_is_set_changed_switched_off_listed_and_cleared(fleet: Database) -> None:
    told = run("set", "shops", "--every", "6h", "--within", "Sat,sun 01:00-05:00").stderr
    assert told == "backups of profile shops: every 6 h within sat,sun 01:00-05:00\n"
    run("set", "masts", "--off")
    assert rows() == [
        ("masts", 0.0, None, "schedule", 1),
        ("shops", 21600.0, "sat,sun 01:00-05:00", "schedule", 2),
        (None, 86400.0, None, "setting", 1),
    ]
    assert "masts    off    -" in run("list").stdout
    run("set", "shops", "--every", "90m")
    assert rows()[1] == ("shops", 5400.0, None, "schedule", 2), "the hours go with what was set before"
    assert "shops    1h 30m" in run("list").stdout
    assert run("clear", "shops").stderr == "backups of profile shops: every 24 h, by the general setting\n"
    run("clear", "masts")
    assert {row[3] for row in rows()} == {"setting"}


def test_every_change_is_an_event_with_what_was_before_and_who_did_it(fleet: Database) -> None:
    run("set", "shops", "--every", "6h")
    run("set", "shops", "--off")
    run("clear", "shops")
    with fleet.read() as session:
        found = [(event.reason, event.message) for event in events.history(session)]
        assert all(event.actor and event.site_id is None for event in events.history(session))
    assert found == [
        ("BackupScheduleChanged", "backups of profile shops: by the general setting, instead of none by themselves"),
        ("BackupScheduleChanged", "backups of profile shops: none by themselves, instead of every 6 h"),
        ("BackupScheduleChanged", "backups of profile shops: every 6 h"),
    ]


def test_a_profile_that_no_site_has_yet_is_given_its_schedule_with_a_note(fleet: Database) -> None:
    told = run("set", "shop", "--every", "6h").stderr
    assert "note: no site has the profile shop today; did you mean shops?" in told
    assert ("shop", 21600.0, None, "schedule", 0) in rows()
    assert "note" not in run("set", "shops", "--every", "6h").stderr


def test_the_general_setting_is_shown_where_nothing_else_holds(
    fleet: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("set", "shops", "--every", "6h")
    monkeypatch.setenv("EDGEMGR_BACKUP_INTERVAL_S", "0")
    assert [row[:2] for row in rows()] == [("masts", 0.0), ("shops", 21600.0), (None, 0.0)]
    assert run("clear", "shops").stderr == "backups of profile shops: none by themselves, by the general setting\n"


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("set", "shops"), "E-BACKUP-SCHEDULE-CHOICE", 2),
        (("set", "shops", "--within", "22:00-06:00"), "E-BACKUP-SCHEDULE-CHOICE", 2),
        (("set", "shops", "--off", "--every", "6h"), "E-BACKUP-SCHEDULE-CHOICE", 2),
        (("set", "shops", "--off", "--within", "22:00-06:00"), "E-BACKUP-SCHEDULE-CHOICE", 2),
        (("set", "shops", "--every", "14m"), "E-BACKUP-SCHEDULE-INTERVAL", 2),
        (("set", "shops", "--every", "0"), "E-BACKUP-SCHEDULE-INTERVAL", 2),
        (("set", "shops", "--every", "99999999999d"), "E-BACKUP-SCHEDULE-INTERVAL", 2),
        (("set", "shops", "--every", "daily"), "E-USAGE-DURATION", 2),
        (("set", "shops", "--every", "6h", "--within", "at night"), "E-WINDOW", 2),
        (("set", "shops", "--every", "6h", "--within", "01:00-01:10"), "E-BACKUP-SCHEDULE-HOURS", 2),
        (("set", "Big Shops", "--every", "6h"), "E-CSV-PROFILE", 2),
        (("clear", "shops"), "E-BACKUP-SCHEDULE-UNKNOWN", 3),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_code_and_changes_nothing(
    fleet: Database, words: tuple[str, ...], code: str, status: int
) -> None:
    fault = refused(*words)
    assert (fault.code, fault.exit_status) == (code, status)
    assert fault.hint
    assert {row[3] for row in rows()} == {"setting"}
    with fleet.read() as session:
        assert events.history(session) == []


def test_clearing_a_schedule_that_is_not_there_names_the_nearest(fleet: Database) -> None:
    run("set", "shops", "--every", "6h")
    assert refused("clear", "shop").hint == "Did you mean shops?"
    assert "schedule list" in refused("clear", "zoo").hint


def too_old(*words: str) -> dict[str, timedelta]:
    """Site → the age of its newest backup at which it is too old, for those that ever are."""
    done = CliRunner().invoke(app, ["expiry", "--what", "backup", "--within", "3650d", "-o", "json", *words])
    assert done.exit_code == 0, done.output
    return {row["site"]: datetime.fromisoformat(row["at"]) - TAKEN for row in json.loads(done.stdout)["items"]}


TAKEN = utc_now().replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
def backed_up(fleet: Database) -> Database:
    """Each site has one backup, an hour old."""
    with fleet.write() as session:
        for site_id in range(1, 5):
            session.add(
                Backup(
                    site_id=site_id,
                    attempt=1,
                    digest="d",
                    taken_at=TAKEN,
                    pulled_at=TAKEN,
                    k3s_version="v1.33.5+k3s1",
                    datastore="sqlite",
                )
            )
    return fleet


def test_a_backup_is_too_old_by_the_schedule_of_its_own_site(backed_up: Database) -> None:
    run("set", "shops", "--every", "6h")
    run("set", "masts", "--off")
    assert too_old() == {"shop-1": DAY / 2, "shop-2": DAY / 2, "lone": 2 * DAY}
    run("set", "masts", "--every", "1d", "--within", "sun 01:00-05:00")
    assert too_old("mast-1") == {"mast-1": 14 * DAY}


def test_an_age_that_is_given_holds_for_all_also_where_a_profile_is_off(backed_up: Database) -> None:
    run("set", "shops", "--every", "6h")
    run("set", "masts", "--off")
    assert too_old("--backup-age", "3d") == dict.fromkeys(("shop-1", "shop-2", "mast-1", "lone"), 3 * DAY)
