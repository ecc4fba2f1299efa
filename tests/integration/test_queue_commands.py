"""`edgemgr queue` as an operator types it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests_support.appliance import PROGRAM
from tests_support.queue_requests import add_sites, ask, every_operation, take
from typer.testing import CliRunner, Result

from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.model.timestamp import utc_now
from edgemgr.store import events, schema
from edgemgr.store.database import Database


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("EDGEMGR_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'state' / 'edgemgr.db'}")
    schema.upgrade(database)
    yield database
    database.close()


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(app, ["queue", *arguments], catch_exceptions=True)
    assert done.exit_code == 0, (done.exception, done.output)
    return done


def refused(*arguments: str) -> EdgemgrError:
    done = CliRunner().invoke(app, ["queue", *arguments])
    assert isinstance(done.exception, EdgemgrError), done.output
    return done.exception


def test_the_status_tells_what_runs_and_what_waits(database: Database) -> None:
    ask(database, add_sites(database, 3, {"vpn": "lte-7"}), now=utc_now())
    run("limit", "set", "label:vpn", "1")
    take(database, now=utc_now())
    text = run("status").stdout
    assert "RUNNING  1 of at most 500: 1 verify" in text
    assert "no worker runs" in text
    assert "WAITING  2\n" in text
    assert "limit label:vpn  2" in text
    assert "1 of its values full" in text
    assert max(map(len, text.splitlines())) <= 80
    run("limit", "set", "label:vpn=lte-7", "1")
    assert "1 of 1 run" in run("status").stdout


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_status_is_one_object_for_programs(database: Database, form: str) -> None:
    ask(database, add_sites(database, 2), now=utc_now())
    text = run("status", "-o", form).stdout
    found = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert (found["apiVersion"], found["kind"], found["queued"]) == ("edgemgr/v1", "QueueStatus", 2)
    assert found["waiting"][0]["sites"] == 2


def test_the_status_is_refused_in_a_form_that_it_cannot_take(database: Database) -> None:
    assert database.dialect == "sqlite"
    assert refused("status", "-o", "csv").code == "E-USAGE-OUTPUT"
    assert refused("status", "--watch", "-o", "json").code == "E-USAGE-OUTPUT"


def test_watching_draws_again_until_it_is_interrupted(database: Database) -> None:
    assert database.dialect == "sqlite"
    with subprocess.Popen([PROGRAM, "queue", "status", "--watch"], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        seen = 0
        for line in watching.stdout:
            seen += line.startswith("RUNNING")
            if seen == 2:
                break
        watching.send_signal(2)
        watching.communicate(timeout=20)
    assert watching.returncode == 130


def test_limits_are_set_listed_and_removed(database: Database) -> None:
    add_sites(database, 1, {"vpn": "lte-7"})
    assert run("limit", "set", "label:vpn", "3").stderr == "at most 3 at once: label:vpn\n"
    run("limit", "set", "kind:bootstrap", "50")
    rows = json.loads(run("limit", "list", "-o", "json").stdout)["items"]
    assert [(row["scope"], row["most"], row["running"]) for row in rows] == [
        ("all", 500, 0),
        ("kind:bootstrap", 50, 0),
        ("label:vpn", 3, 0),
    ]
    run("limit", "remove", "label:vpn")
    assert run("limit", "list", "-o", "name").stdout == "all\nkind:bootstrap\n"
    with database.read() as session:
        assert {event.reason for event in events.history(session)} == {"LimitChanged"}


def test_a_limit_for_a_label_that_no_site_has_is_set_with_a_note(database: Database) -> None:
    add_sites(database, 1, {"vpn": "lte-7"})
    told = run("limit", "set", "label:vpm=lte-7", "3").stderr
    assert "note: no site has the label vpm today; did you mean vpn?" in told


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("limit", "set", "vpn=lte-7", "3"), "E-LIMIT-SCOPE", "label:vpn=lte-7"),
        (("limit", "set", "kind:bootstrip", "3"), "E-LIMIT-SCOPE", "kind:bootstrap"),
        (("limit", "set", "all", "0"), "E-LIMIT-NUMBER", "queue pause"),
        (("limit", "remove", "kind:reset"), "E-LIMIT-UNKNOWN", "limit list"),
        (("pause",), "E-OP-NO-SITE", "site list"),
        (("pause", "site-9"), "E-SITE-UNKNOWN", "site-"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_was_meant(
    database: Database, arguments: tuple[str, ...], code: str, hint: str
) -> None:
    add_sites(database, 1)
    fault = refused(*arguments)
    assert fault.code == code
    assert hint in fault.hint


def test_sites_are_paused_and_resumed_by_name_by_selector_and_all_together(database: Database) -> None:
    north = add_sites(database, 2, {"region": "north"}, name="north")
    south = add_sites(database, 2, {"region": "south"}, name="south")
    ask(database, [*north, *south], now=utc_now())
    told = run("pause", "-l", "region=north", "--reason", "flood").stderr
    assert told == "paused 2 site(s); 2 operation(s) wait until then, 0 run(s) on\n"
    assert [item.operation.site_id for item in take(database, now=utc_now())] == south
    told = run("pause", "--all").stderr
    assert told.startswith("paused 2 site(s); 0 operation(s) wait until then, 2 run(s) on; 2 site(s) were paused")
    assert run("resume", "north-1").stderr == "resumed 1 site(s); 1 operation(s) go on\n"
    assert [item.operation.site_id for item in take(database, now=utc_now())] == north[:1]
    assert "3 site(s)" in run("resume", "--all").stderr


def test_a_dry_run_names_the_sites_and_changes_nothing(database: Database) -> None:
    ask(database, add_sites(database, 2), now=utc_now())
    told = run("pause", "--all", "--dry-run").stdout
    assert told == "would pause 2 site(s): site-1, site-2; 2 operation(s) wait until then, 0 run(s) on\n"
    assert {operation.waiting_for for operation in every_operation(database)} == {"turn"}


def test_a_paused_site_says_so_in_its_own_page_and_in_the_wide_list(database: Database) -> None:
    add_sites(database, 1)
    run("pause", "site-1", "--reason", "flood")
    for arguments in (["site", "show", "site-1"], ["site", "list", "-o", "wide", "--filter", "paused=yes"]):
        assert "ago: flood" in CliRunner().invoke(app, arguments).stdout
