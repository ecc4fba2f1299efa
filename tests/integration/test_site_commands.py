"""`edgemgr site …` and `edgemgr group …`, from arguments to output and exit status."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from sqlmodel import select
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli import group, site
from edgemgr.errors import ConflictError, EdgemgrError, InventoryError, NotFoundError, SelectorError, UsageError
from edgemgr.model.event import Event
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.timestamp import utc_now

SITES = "name,address,labels.region\na,192.0.2.1,emea\nb,192.0.2.2,apac\nc,192.0.2.3,emea\n"


class Console:
    """Runs commands in a state directory of the test's own."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    def __call__(self, *arguments: str, status: int = 0, text: str = "") -> Result:
        apps = {"site": site.app, "group": group.app}
        result = self._runner.invoke(apps[arguments[0]], arguments[1:], input=text)
        if isinstance(result.exception, EdgemgrError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    def names(self, *arguments: str) -> list[str]:
        return self("site", "list", "-o", "name", *arguments).stdout.split()


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Console:
    monkeypatch.setenv("EDGEMGR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    console = Console()
    console("site", "import", "-", text=SITES)
    return console


def test_an_import_says_what_it_did_on_stdout(console: Console) -> None:
    result = console("site", "import", "-", text=SITES.replace("192.0.2.2", "192.0.2.9"))
    assert result.stdout.splitlines() == [
        "SITE  FIELD    OLD        NEW",
        "b     address  192.0.2.2  192.0.2.9",
        "created 0, changed 1, unchanged 2, refused 0",
    ]


def test_faults_go_to_stderr_and_end_with_status_2(console: Console) -> None:
    result = console("site", "import", "-", text="name,address,port\nd,192.0.2.4,x\n", status=2)
    assert "line 2, column 3 (port): 'x' it is no port" in result.stderr
    assert "nothing was imported: the file has 1 fault(s)" in result.stdout
    assert console.names() == ["a", "b", "c"]


def test_faults_are_objects_in_json(console: Console) -> None:
    document = json.loads(console("site", "import", "-", "-o", "json", text="name,address\nd,x y\n", status=2).stdout)
    assert (document["kind"], document["applied"], document["refused"]) == ("SiteImport", False, 1)
    assert document["errors"] == [
        {
            "line": 2,
            "column": "address",
            "position": 2,
            "value": "x y",
            "code": "E-CSV-ADDRESS",
            "message": "it is neither a host name nor an IP address",
            "hint": "Write for example 192.0.2.10, 2001:db8::10 or store-1.example.com; "
            "the port has a column of its own.",
        }
    ]


def test_good_rows_end_with_status_6_and_leave_the_bad_ones_beside_the_file(console: Console, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("name,address\nd,192.0.2.4\nE,192.0.2.5\n")
    result = console("site", "import", "new.csv", "--good-rows", status=6)
    assert "1 bad rows written to new.bad.csv" in result.stderr
    assert (tmp_path / "new.bad.csv").read_text().splitlines()[1].startswith('E,192.0.2.5,"name: ')
    assert console.names() == ["a", "b", "c", "d"]


def test_a_dry_run_of_good_rows_writes_no_file(console: Console, tmp_path: Path) -> None:
    console("site", "import", "-", "--good-rows", "--dry-run", text="name,address\nE,192.0.2.5\n", status=2)
    assert not list(tmp_path.glob("*.csv"))


def test_the_bad_rows_never_overwrite_the_file_itself(console: Console, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,address\nE,192.0.2.5\n")
    with pytest.raises(InventoryError, match="would overwrite"):
        console("site", "import", "x.csv", "--good-rows", "--bad-rows", "x.csv")


def test_a_file_that_is_not_there_is_told_plainly(console: Console) -> None:
    with pytest.raises(InventoryError, match=r"none.csv cannot be read: No such file"):
        console("site", "import", "none.csv")


def test_the_template_can_be_imported_and_its_columns_explained(console: Console) -> None:
    console("site", "import", "-", text=console("site", "template").stdout)
    assert "store-0001" in console.names()
    explained = console("site", "template", "-o", "table").stdout
    assert "labels.KEY" in explained
    assert "used once to install a key and then erased" in explained


def test_sites_are_listed_by_labels_and_fields(console: Console) -> None:
    assert console.names("-l", "region=emea") == ["a", "c"]
    assert console.names("-l", "region=emea", "--filter", "name~c") == ["c"]
    assert console.names("--sort", "-name", "--limit", "2") == ["c", "b"]
    with pytest.raises(SelectorError, match="there is no field helth"):
        console("site", "list", "--filter", "helth=failing")


def test_a_short_list_says_on_stderr_how_many_there_are(console: Console) -> None:
    result = console("site", "list", "--limit", "1")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == "1 of 3 sites\n"


def test_one_site_is_shown_with_what_happened_to_it(console: Console) -> None:
    shown = console("site", "show", "a").stdout
    assert "labels:        region=emea" in shown
    assert "SiteCreated" in shown
    assert json.loads(console("site", "show", "a", "-o", "json").stdout)["kind"] == "Site"
    with pytest.raises(NotFoundError):
        console("site", "show", "d")


def test_an_edit_changes_fields_by_the_rules_of_the_import(console: Console) -> None:
    result = console("site", "edit", "a", "--address", "192.0.2.7", "--latitude", "-1.5", "--longitude", "36.8")
    assert "a     address    192.0.2.1  192.0.2.7" in result.stdout
    assert "nothing to change" in console("site", "edit", "a", "--address", "192.0.2.7").stderr
    console("site", "edit", "a", "--latitude", "", "--longitude", "")
    assert json.loads(console("site", "show", "a", "-o", "json").stdout)["latitude"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "ssh"], "port 'ssh': it is no port"),
        (["--address", ""], "address: it may not be empty"),
        (["--address", "192.0.2.2"], "site b has the address 192.0.2.2:22"),
        (["--jump", "relay@198.51.100.1"], "jump_host_key: a jump host needs its key"),
        (["--latitude", "1"], "longitude: there is only a latitude"),
        ([], "nothing to change was named"),
    ],
)
def test_an_edit_that_breaks_a_rule_is_refused(console: Console, arguments: list[str], told: str) -> None:
    with pytest.raises(InventoryError) as caught:
        console("site", "edit", "a", *arguments)
    assert told in caught.value.message
    assert json.loads(console("site", "show", "a", "-o", "json").stdout)["address"] == "192.0.2.1"


def test_labels_are_set_and_removed(console: Console) -> None:
    console("site", "label", "a", "b", "tier=gold", "region-")
    assert console.names("-l", "tier=gold,!region") == ["a", "b"]
    console("site", "label", "-l", "region=emea", "ring=canary")
    assert console.names("-l", "ring=canary") == ["c"]
    with pytest.raises(InventoryError, match=r"label _x=1"):
        console("site", "label", "a", "_x=1")
    with pytest.raises(InventoryError, match="no label was named"):
        console("site", "label", "a")


def test_dry_runs_change_nothing(console: Console) -> None:
    before = console("site", "list", "-o", "json").stdout
    assert "would be changed" in console("site", "edit", "a", "--notes", "x", "--dry-run").stderr
    assert "2 site(s) would be changed" in console("site", "label", "a", "b", "x=y", "--dry-run").stderr
    assert console("site", "delete", "a", "--dry-run").stdout == "a\n"
    assert console("site", "list", "-o", "json").stdout == before


def test_a_deletion_asks_and_without_a_terminal_needs_yes(console: Console) -> None:
    with pytest.raises(ConflictError, match="nobody can be asked"):
        console("site", "delete", "a")
    assert console.names() == ["a", "b", "c"]
    assert console("site", "delete", "-l", "region=emea", "--yes").stdout == "a\nc\n"
    assert console.names() == ["b"]
    with open_app() as app, app.database.read() as session:
        assert {label.site_id for label in session.exec(select(SiteLabel))} == {2}
        assert [event.site_name for event in session.exec(select(Event)) if event.reason == "SiteDeleted"] == ["a", "c"]
    with pytest.raises(UsageError):
        console("site", "delete", "--yes")


def test_a_deletion_is_refused_while_an_operation_runs_and_takes_nothing(console: Console) -> None:
    with open_app() as app, app.database.write() as session:
        number = session.exec(select(Site.id).where(Site.name == "b")).one()
        session.add(
            Operation(
                site_id=number or 0,
                kind="bootstrap",
                state="running",
                is_head=True,
                batch_key="x",
                request="r",
                actor="tester",
                deadline_at=utc_now(),
            )
        )
    with pytest.raises(ConflictError, match=r"b \(bootstrap\)") as caught:
        console("site", "delete", "a", "b", "--yes")
    assert (caught.value.code, caught.value.exit_status) == ("E-CONFLICT", 5)
    assert console.names() == ["a", "b", "c"]


def test_an_export_can_be_imported_again(console: Console, tmp_path: Path) -> None:
    console("site", "edit", "a", "--notes", "=1+1")
    console("site", "export", "-l", "region=emea", "out.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["name"], row["notes"]) for row in rows] == [("a", "'=1+1"), ("c", "")]
    assert "password" not in rows[0]
    assert "unchanged 2" in console("site", "import", "out.csv").stdout
    assert console("site", "export").stdout.splitlines()[1].startswith("a,192.0.2.1,22,root,")


def test_a_group_is_a_saved_selector(console: Console) -> None:
    console("group", "create", "emea", "-l", "region=emea")
    assert console.names("--filter", "group=emea") == ["a", "c"]
    assert json.loads(console("group", "list", "-o", "json").stdout)["items"] == [
        {"name": "emea", "selector": "region=emea", "trust_first_use_until": None}
    ]
    with pytest.raises(ConflictError, match="a group emea already"):
        console("group", "create", "emea", "-l", "region=emea")
    console("group", "delete", "emea")
    with pytest.raises(NotFoundError):
        console("group", "delete", "emea")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["Big", "-l", "a=b"], "E-GROUP-NAME"),
        (["g"], "E-GROUP-EMPTY"),
        (["g", "--filter", "group=other"], "E-SELECTOR-GROUP"),
        (["g", "-l", "trust=seen"], "E-SELECTOR-FIELD"),
        (["g", "-l", "a=b", "--trust-first-use-until", "tomorrow"], "E-GROUP-FIRST-USE"),
        (["g", "-l", "a=b", "--trust-first-use-until", "2020-01-01"], "E-GROUP-FIRST-USE"),
        (["g", "-l", "a=b", "--trust-first-use-until", "9999-12-31"], "E-GROUP-FIRST-USE"),
    ],
)
def test_a_group_that_breaks_a_rule_is_refused(console: Console, arguments: list[str], code: str) -> None:
    with pytest.raises(EdgemgrError) as caught:
        console("group", "create", *arguments)
    assert caught.value.code == code
