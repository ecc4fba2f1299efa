"""`edgemgr upgrade --plan` over a bundle that was really taken in, for a thousand sites."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, select, update
from tests_support.bundle_shop import BundleShop
from tests_support.upgrade_fleet import NAME, VERSIONS, add_fleet, operation, run

from edgemgr.app import open_app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory.bundle_import import Importer
from edgemgr.inventory.upgrade_outlook import outlook
from edgemgr.model.bundle import Bundle
from edgemgr.model.operation import Operation
from edgemgr.model.release import Arch
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.model.upgrade import PlanState, Preflight, Wish
from edgemgr.settings import Settings
from edgemgr.store.database import Database

SITES = 1000
EXPECTED = {
    PlanState.READY: 6 * SITES // 10,
    PlanState.WARNED: SITES // 10,
    PlanState.UP_TO_DATE: SITES // 10,
    PlanState.BLOCKED: 2 * SITES // 10,
}


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is sent to any database meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
def fleet(appliance: Settings) -> Settings:
    with open_app(appliance) as made:
        add_fleet(made.database, SITES)
    return appliance


def items(*words: str) -> list[dict[str, Any]]:
    done = run(*words, "-o", "json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


def test_a_thousand_sites_are_planned_with_their_way_and_what_blocks_them(fleet: Settings) -> None:
    rows = items("--plan", str(NAME), "--all")
    assert [row["site"] for row in rows] == [f"store-{n:04}" for n in range(SITES)]
    assert Counter(row["state"] for row in rows) == {state.value: number for state, number in EXPECTED.items()}
    ready, current, arm, full, away, staged = rows[0], *rows[1:6]
    assert [(hop["from_version"], hop["to_version"]) for hop in ready["hops"]] == [
        ("v1.33.5+k3s1", "v1.34.6+k3s1"),
        ("v1.34.6+k3s1", "v1.35.2+k3s1"),
        ("v1.35.2+k3s1", "v1.36.0+k3s1"),
    ]
    assert [each["check"] for each in ready["checks"]] == [check.value for check in Preflight]
    assert (current["hops"], current["checks"]) == ([], [])
    assert (arm["code"], "arm64" in arm["why"]) == ("E-B050", True)
    assert (full["code"], "GiB were free" in full["why"]) == ("E-PRE-DISK", True)
    assert (away["state"], "does not answer" in away["why"]) == ("warned", True)
    assert (ready["staged"], staged["staged"]) == (False, True)


def test_the_table_says_why_and_the_last_line_sums_up(fleet: Settings) -> None:
    done = run("--plan", str(NAME), "-l", "region=emea")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["SITE", "FROM", "TO", "HOPS", "STAGED", "STATE", "WHY"]
    assert len(lines) == 1 + SITES // 2
    full = next(line for line in lines if line.startswith("store-0003"))
    assert "blocked" in full
    assert "1.0 GiB were free" in full
    assert done.stderr.strip() == "500 site(s): 300 ready; 100 up to date; 100 blocked (E-PRE-DISK 100)"


def test_every_check_of_a_site_can_be_shown_on_a_line_of_its_own(few: Settings) -> None:
    rows = items("--plan", str(NAME), "store-0000", "store-0003", "--checks")
    assert len(rows) == 2 * len(Preflight)
    blocked = [row for row in rows if row["verdict"] == "block"]
    assert [(row["site"], row["check"], row["code"]) for row in blocked] == [("store-0003", "disk", "E-PRE-DISK")]
    assert "asked there" in run("--plan", str(NAME), "store-0000", "--checks").stdout


def test_other_forms_of_the_output_have_the_same_rows(few: Settings) -> None:
    words = ("--plan", str(NAME), "store-0000", "store-0003")
    assert run(*words, "-o", "name").stdout.splitlines() == ["store-0000", "store-0003"]
    table = list(csv.DictReader(io.StringIO(run(*words, "-o", "csv").stdout)))
    assert [(row["site"], row["code"]) for row in table] == [("store-0000", ""), ("store-0003", "E-PRE-DISK")]
    assert len(run(*words, "-o", "jsonl").stdout.splitlines()) == 2
    assert "v1.34.6+k3s1 → v1.35.2+k3s1" in run(*words, "-o", "wide").stdout


def test_an_earlier_goal_and_a_window_change_the_plan(few: Settings) -> None:
    words = ("--plan", str(NAME), "store-0000", "--window", "sat 02:00-02:45")
    (whole,) = items(*words)
    assert (whole["state"], whole["code"]) == ("blocked", "E-UPGRADE-WINDOW")
    (part,) = items(*words, "--version", "v1.35.2+k3s1")
    assert (part["state"], len(part["hops"])) == ("ready", 2)


def test_planning_asks_and_changes_nothing(few: Settings) -> None:
    def operations() -> list[int | None]:
        with open_app(few) as made, made.database.read() as session:
            return list(session.exec(select(Operation.id).order_by(col(Operation.id))))

    before = operations()
    with statements() as sent:
        items("--plan", str(NAME), "--all")
    assert operations() == before
    assert [each for each in sent if each.split()[0] in ("INSERT", "UPDATE", "DELETE")] == []


def test_what_runs_or_waits_on_a_site_is_seen(few: Settings) -> None:
    with open_app(few) as made, made.database.write() as session:
        ids = dict(session.exec(select(Site.name, Site.id)).all())
        session.add(operation(ids["store-0000"] or 0, "reset", "running", {}))
        session.add(operation(ids["store-0006"] or 0, "bootstrap", "queued", {}))
    running, waiting = items("--plan", str(NAME), "store-0000", "store-0006")
    assert (running["state"], running["code"]) == ("blocked", "E-UPGRADE-BUSY")
    assert (waiting["state"], waiting["why"]) == ("warned", "a bootstrap was asked for before and goes first")


def test_options_that_a_version_on_the_way_no_longer_knows_come_from_the_last_bootstrap(few: Settings) -> None:
    with open_app(few) as made, made.database.write() as session:
        site_id = session.exec(select(Site.id).where(Site.name == "store-0000")).one() or 0
        config = {"kubelet-arg": ["pod-infra-container-image=pause:3"]}
        session.add(operation(site_id, "bootstrap", "succeeded", {"version": "v1.33.5+k3s1", "k3s_config": config}))
    (row,) = items("--plan", str(NAME), "store-0000")
    assert (row["code"], row["why"]) == (
        "E-K3S-OPTION",
        "kubelet-arg pod-infra-container-image is gone in v1.35",
    )


def test_a_change_of_the_configuration_alone_is_a_change_in_the_plan_judged_by_its_options(
    few: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    words = ("--plan", str(NAME), "store-0001", "--config", str(file))
    file.write_text("debug: true\n")
    (row,) = items(*words)
    assert (row["state"], row["hops"]) == ("ready", [{"from_version": "v1.36.0+k3s1", "to_version": "v1.36.0+k3s1"}])
    version, config = (next(each for each in row["checks"] if each["check"] == name) for name in ("version", "config"))
    assert version["detail"] == "v1.36.0+k3s1 stays, and its configuration changes"
    assert config["verdict"] == "pass"
    file.write_text("kubelet-arg: [pod-infra-container-image=pause:3]\n")
    (row,) = items(*words)
    assert (row["state"], row["code"]) == ("blocked", "E-K3S-OPTION")
    file.write_text("{}\n")
    (row,) = items(*words)
    assert (row["state"], row["hops"]) == ("up_to_date", [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("retail/stable/3", "--all", "--checks"), "E-UPGRADE-PLAN-ONLY"),
        (("retail/stable/9", "--plan", "--all"), "E-BUNDLE-UNKNOWN"),
        (("retail", "--plan", "--all"), "E-BUNDLE-NAME"),
        (("retail/stable/3", "--plan"), "E-OP-NO-SITE"),
        (("retail/stable/3", "--plan", "--all", "--version", "v1.37.0+k3s1"), "E-UPGRADE-VERSION"),
        (("retail/stable/3", "--plan", "--all", "--version", "newest"), "E-RELEASE-VERSION"),
        (("retail/stable/3", "--plan", "--all", "--window", "at night"), "E-WINDOW"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_a_code(few: Settings, words: tuple[str, ...], code: str) -> None:
    done = run(*words)
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"state": "importing"}, "E-BUNDLE-BUSY"), ({"expires_at": utc_now() - timedelta(days=1)}, "E-B030")],
)
def test_a_bundle_that_could_not_be_used_is_not_planned_with(few: Settings, changes: dict[str, Any], code: str) -> None:
    with open_app(few) as made, made.database.write() as session:
        session.exec(update(Bundle).values(**changes))
    done = run("--plan", str(NAME), "--all")
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == code


@pytest.fixture
def brought(database: Database, settings: Settings, shop: BundleShop) -> Callable[[int], Database]:
    def brought(count: int) -> Database:
        Importer(database, settings, "anna").take(shop.bundle(3, VERSIONS, archs=(Arch.AMD64, Arch.ARM64)))
        add_fleet(database, count)
        return database

    return brought


@pytest.mark.parametrize("count", [10, 1000])
def test_many_sites_cost_as_few_statements_as_few(brought: Callable[[int], Database], count: int) -> None:
    database = brought(count)
    with database.read() as session:
        ids = [site_id or 0 for site_id in session.exec(select(Site.id))]
    with statements() as sent:
        plans = outlook(database, Wish(NAME), ids, now=utc_now())
    assert len(plans) == count
    assert len([each for each in sent if each.startswith("SELECT")]) == 9
    assert sum(plan.state is PlanState.READY for plan in plans) == 7 * count // 10, "arm64 is carried here"
