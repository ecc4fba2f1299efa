"""`edgemgr upgrade` over a bundle that was really taken in: planned for a thousand sites, and asked for."""

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
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory.bundle_import import Importer
from edgemgr.inventory.upgrade_outlook import outlook
from edgemgr.model.bundle import Bundle
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation, Priority
from edgemgr.model.release import Arch
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.model.upgrade import PlanState, Preflight, Wish
from edgemgr.operations.upgrade import Upgrade, UpgradeParams
from edgemgr.settings import Settings
from edgemgr.store.database import Database

VERSIONS = ("v1.34.1+k3s1", "v1.34.6+k3s1", "v1.35.2+k3s1", "v1.36.0+k3s1")
NAME = BundleName("retail", "stable", 3)
GIB = 1 << 30
SITES = 1000


def told() -> dict[str, Any]:
    return {
        "disk_free_bytes": 40 * GIB,
        "disk_size_bytes": 60 * GIB,
        "memory_bytes": 4 * GIB,
        "certificate_expires_at": f"{utc_now() + timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}",
        "checked_at": f"{utc_now():%Y-%m-%dT%H:%M:%SZ}",
    }


def operation(site_id: int, kind: str, state: str, params: dict[str, Any]) -> Operation:
    now = utc_now()
    return Operation(
        site_id=site_id,
        kind=kind,
        state=state,
        is_head=state == "running",
        params=params,
        batch_key="x",
        request="r",
        actor="anna",
        deadline_at=now + timedelta(days=7),
        finished_at=now if state == "succeeded" else None,
    )


def add_fleet(database: Database, count: int) -> None:
    """Of ten sites: six are well at v1.33, and each of the others has something of its own."""
    with database.write() as session:
        sites = [
            Site(name=f"store-{n:04}", address=f"store-{n}.example", trust="pinned", timezone="Europe/Berlin")
            for n in range(count)
        ]
        session.add_all(sites)
        session.flush()
        for n, site in enumerate(sites):
            site_id = site.id or 0
            session.add(SiteLabel(site_id=site_id, key="region", value="emea" if n % 2 else "apac"))
            cluster = Cluster(
                site_id=site_id,
                reachability="reachable",
                contact_at=utc_now(),
                health="healthy",
                observed_at=utc_now(),
                k3s_version="v1.33.5+k3s1",
                arch="amd64",
                os="Debian GNU/Linux 12",
                facts=told(),
            )
            match n % 10:
                case 1:
                    cluster.k3s_version = "v1.36.0+k3s1"
                case 2:
                    cluster.arch = "arm64"
                case 3:
                    cluster.facts = {**told(), "disk_free_bytes": GIB}
                case 4:
                    cluster.reachability = "unreachable"
            session.add(cluster)
            session.add(operation(site_id, "bootstrap", "succeeded", {"version": "v1.33.5+k3s1", "k3s_config": {}}))
            if n % 10 == 5:
                session.add(operation(site_id, "stage", "succeeded", {"bundle": str(NAME)}))


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
def appliance(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """One with a bundle."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    shop = BundleShop.open(tmp_path / "shop")
    with open_app(settings) as made:
        shop.trusted_in(settings.trust_dir)
        Importer(made.database, settings, "anna").take(shop.bundle(3, VERSIONS))
    return settings


@pytest.fixture
def fleet(appliance: Settings) -> Settings:
    with open_app(appliance) as made:
        add_fleet(made.database, SITES)
    return appliance


@pytest.fixture
def few(appliance: Settings) -> Settings:
    with open_app(appliance) as made:
        add_fleet(made.database, 10)
    return appliance


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["upgrade", *words])


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


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("retail/stable/3", "--all", "--window", "22:00-06:00"), "E-UPGRADE-PLAN-ONLY"),
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


# -- asking for one -----------------------------------------------------------------------------------------


def asked(settings: Settings) -> list[Operation]:
    with open_app(settings) as made, made.database.read() as session:
        return list(session.exec(select(Operation).where(Operation.kind == "upgrade").order_by(col(Operation.id))))


def stage_at(settings: Settings, *names: str) -> None:
    """Let the bundle lie at these sites."""
    with open_app(settings) as made, made.database.write() as session:
        for site in session.exec(select(Site).where(col(Site.name).in_(names))).all():
            session.add(operation(site.id or 0, "stage", "succeeded", {"bundle": str(NAME)}))


def test_an_upgrade_is_asked_for_and_the_version_is_wanted_from_then_on(few: Settings) -> None:
    done = run(str(NAME), "store-0005", "--version", "v1.34.6+k3s1", "--soak", "1m")
    assert done.exit_code == 0, done.output
    (found,) = asked(few)
    assert (found.params["bundle"], found.params["version"]) == (str(NAME), "v1.34.6+k3s1")
    assert (found.params["soak_s"], found.params["k3s_config"], found.priority) == (60, None, Priority.INTERACTIVE)
    with open_app(few) as made, made.database.read() as session:
        assert session.exec(select(Site.k3s_version).where(Site.name == "store-0005")).one() == "v1.34.6+k3s1"


def test_the_hops_are_planned_when_it_is_claimed_with_the_files_of_the_site_s_architecture(few: Settings) -> None:
    spec = Upgrade()
    params = UpgradeParams(bundle=str(NAME), version="v1.35.2+k3s1")
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0005")).one()
        told = spec.variables(session, params, site, few)
        known = {file.digest for file in session.exec(select(ReleaseFile))}
    assert [(hop["from_version"], hop["to_version"]) for hop in told["edge_hops"]] == [  # type: ignore[attr-defined]
        ("v1.33.5+k3s1", "v1.34.6+k3s1"),
        ("v1.34.6+k3s1", "v1.35.2+k3s1"),
    ]
    for hop in told["edge_hops"]:  # type: ignore[attr-defined]
        assert sorted(each["part"] for each in hop["artifacts"]) == ["binary", "images"]
        assert {each["digest"] for each in hop["artifacts"]} <= known
    assert told["edge_refusal"] == {}


def test_without_a_way_the_node_is_told_why_as_it_may_have_begun_already(few: Settings) -> None:
    params = UpgradeParams(bundle="retail/stable/99", version="v1.35.2+k3s1")
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0005")).one()
        told = Upgrade().variables(session, params, site, few)
    assert told["edge_hops"] == []
    assert told["edge_refusal"]["code"] == "E-BUNDLE-UNKNOWN"  # type: ignore[index]


def test_a_change_of_the_configuration_alone_is_one_hop_without_files(few: Settings) -> None:
    params = UpgradeParams(bundle=str(NAME), version="v1.36.0+k3s1", k3s_config={"debug": True})
    with open_app(few) as made, made.database.read() as session:
        site = session.exec(select(Site).where(Site.name == "store-0001")).one()
        (hop,) = Upgrade().variables(session, params, site, few)["edge_hops"]  # type: ignore[misc]
    assert hop == {
        "from_version": "v1.36.0+k3s1",
        "to_version": "v1.36.0+k3s1",
        "config": {"debug": True},
        "artifacts": [],
    }


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("store-0000",), "E-UPGRADE-UNSTAGED", "does not lie at store-0000 yet"),
        (("store-0005", "store-0003"), "E-PRE-DISK", "store-0003 cannot be upgraded: 1.0 GiB were free"),
        (("--all",), "E-B050", "store-0002 cannot be upgraded"),
    ],
)
def test_one_site_that_cannot_be_upgraded_stops_all_before_anything_moves(
    few: Settings, words: tuple[str, ...], code: str, said: str
) -> None:
    done = run(str(NAME), *words)
    assert isinstance(done.exception, EdgemgrError)
    assert (done.exception.code, done.exception.exit_status) == (code, 5)
    assert said in done.exception.message
    assert asked(few) == []


def test_the_others_go_on_where_that_is_asked(few: Settings) -> None:
    stage_at(few, *(f"store-{number:04}" for number in range(10)))
    done = run(str(NAME), "--all", "--skip-blocked")
    assert done.exit_code == 0, done.output
    assert "left out: store-0003: 1.0 GiB were free" in done.stderr
    assert len(asked(few)) == 8


def test_a_dry_run_asks_for_nothing(few: Settings) -> None:
    done = run(str(NAME), "store-0005", "--dry-run", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sites"] == ["store-0005"]
    assert asked(few) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [("- name: x\n", "E-OP-PARAMS"), ("name: x\n", "E-OP-CONFIG"), ("- name: x\n  url: ftp://till\n", "E-OP-PARAMS")],
)
def test_checks_of_one_s_own_have_to_be_checks(few: Settings, tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text)
    done = run(str(NAME), "store-0005", "--site-checks", str(file))
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == code


def test_checks_of_one_s_own_travel_with_it(few: Settings, tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("- name: till\n  url: http://127.0.0.1:8080/ready\n- name: disk\n  command: [test, -w, /srv]\n")
    assert run(str(NAME), "store-0005", "--site-checks", str(file)).exit_code == 0
    (found,) = asked(few)
    assert [each["name"] for each in found.params["site_checks"]] == ["till", "disk"]
