"""`edgemgr token rotate`, and what lists of backups say of tokens, as an operator sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select
from tests_support.backup_files import manifest_of, put_blocks
from tests_support.console_fleet import add_cluster, add_site
from typer.testing import CliRunner, Result

from edgemgr.app import App, open_app
from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory.backup_pull import prune
from edgemgr.inventory.backup_shelf import shelf_of
from edgemgr.inventory.backup_store import open_store
from edgemgr.model.backup_manifest import read_manifest
from edgemgr.model.backup_retention import Retention
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.settings import Settings


@pytest.fixture
def appliance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two sites with k3s, and one without."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    with open_app(settings) as opened:
        for name in ("store-1", "store-2"):
            add_cluster(opened.database, add_site(opened.database, name))
        add_site(opened.database, "bare")
    return settings


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def refused(*words: str) -> EdgemgrError:
    done = run(*words)
    assert isinstance(done.exception, EdgemgrError), done.output
    return done.exception


def operations(settings: Settings) -> list[Operation]:
    with open_app(settings) as opened, opened.database.read() as session:
        return list(session.exec(select(Operation).order_by(Operation.id)))


def test_a_rotation_begins_with_a_backup_and_is_called_by_its_name(appliance: Settings) -> None:
    done = run("token", "rotate", "store-1", "store-2", "--yes", "-o", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["operation"], told["sites"]) == ("rotate-token", ["store-1", "store-2"])
    found = operations(appliance)
    assert [(each.kind, each.params, each.request) for each in found] == [
        ("backup", {"token": "before"}, told["request"])
    ] * 2
    assert (found[0].deadline_at - found[0].created_at).days == 7
    assert "rotate-token queued for 1 site(s)" in run("token", "rotate", "store-1", "--yes").stderr


def test_it_asks_first_and_says_what_it_costs(appliance: Settings) -> None:
    done = run("token", "rotate", "store-1")
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == "E-USAGE-CONFIRM"
    assert "the old token no longer lets machines join" in done.stderr
    assert operations(appliance) == []


def test_a_dry_run_denies_and_asks_for_nothing(appliance: Settings) -> None:
    assert run("token", "rotate", "store-1", "--dry-run").exit_code == 0
    assert refused("token", "rotate", "store-1", "bare", "--dry-run").code == "E-TOKEN-NO-K3S"
    assert refused("token", "rotate", "bare", "--yes").hint
    assert operations(appliance) == []


def test_a_backup_of_a_site_on_the_way_to_a_new_token_is_left_out(appliance: Settings) -> None:
    run("token", "rotate", "store-1", "--yes")
    assert refused("backup", "run", "store-1").code == "E-OP-OPEN"
    done = run("backup", "run", "store-1", "store-2", "-o", "json")
    assert json.loads(done.stdout)["sites"] == ["store-2"]
    assert "1 site(s) left out" in done.stderr


@pytest.fixture
def pulled(appliance: Settings) -> Callable[..., None]:
    """Backups of store-1 come here, by the numbers of who took them and of their tokens; its node told one of these."""

    def bring(backups: dict[int, int | None], *, present: Any) -> None:
        with open_app(appliance) as opened:
            with open_store(opened.settings.backup_dir, opened.vault, "store-1") as store:
                for attempt, token in backups.items():
                    parts = {"state.db": b"state %d" % attempt, "files.tar": b"files"}
                    text = json.loads(manifest_of(attempt, parts))
                    text = json.dumps(text if token is None else {**text, "token": token}).encode()
                    put_blocks(store, read_manifest(text), parts)
                    store.commit(text)
            shelf = shelf_of(opened.database, opened.vault, opened.settings)
            prune(shelf, _tell(opened, present), "store-1", Retention())

    return bring


def _tell(opened: App, present: Any) -> int:
    """Let the site tell this of its token; gives its number."""
    with opened.database.write() as session:
        site_id = session.exec(select(Site.id).where(Site.name == "store-1")).one()
        cluster = session.get_one(Cluster, site_id)
        cluster.facts = {**cluster.facts, "token_number": present}
        return site_id or 0


def test_a_list_tells_which_token_each_backup_holds_and_whether_it_is_the_present_one(
    pulled: Callable[..., None],
) -> None:
    pulled({5: None, 7: 7, 8: 7, 21: 20}, present=20)
    rows = json.loads(run("backup", "list", "-o", "json").stdout)["items"]
    assert [(row["attempt"], row["token"], row["has_present_token"]) for row in rows] == [
        (21, 20, True),
        (8, 7, False),
        (7, 7, False),
        (5, None, None),
    ]
    table = run("backup", "list", "-o", "wide").stdout
    assert table.splitlines()[0].split().count("TOKEN") == 1
    assert [line.split().count("present") for line in table.splitlines()[1:]] == [1, 0, 0, 0]
    assert [line.split().count("another") for line in table.splitlines()[1:]] == [0, 1, 1, 0]


@pytest.mark.parametrize("present", [None, "20", True, [20]])
def test_what_a_site_tells_of_its_token_is_only_believed_if_it_is_a_number(
    pulled: Callable[..., None], present: Any
) -> None:
    pulled({21: 20}, present=present)
    (row,) = json.loads(run("backup", "list", "-o", "json").stdout)["items"]
    assert (row["token"], row["has_present_token"]) == (20, None)


def test_one_backup_says_so_in_a_sentence_and_a_restore_of_an_older_one_too(pulled: Callable[..., None]) -> None:
    pulled({7: 7, 21: 20}, present=20)
    ids = {row["attempt"]: row["id"] for row in json.loads(run("backup", "list", "-o", "json").stdout)["items"]}
    assert (
        "of attempt 7, which is not the present one: a restore brings it back"
        in run("backup", "show", str(ids[7])).stdout
    )
    assert "of attempt 20, which is the present one" in run("backup", "show", str(ids[21])).stdout
    assert json.loads(run("backup", "show", str(ids[7]), "-o", "json").stdout)["has_present_token"] is False
    older = run("backup", "restore", "store-1", "--backup", str(ids[7]), "--dry-run")
    assert "brings that one back with it" in older.stderr
    assert "brings that one back with it" not in run("backup", "restore", "store-1", "--dry-run").stderr
