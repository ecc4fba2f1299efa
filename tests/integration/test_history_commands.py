"""`edgemgr operation list` and `edgemgr database prune`, from arguments to output."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.console_fleet import add_attempt, add_operation, add_site
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli import database, operation
from edgemgr.errors import EdgemgrError, NotFoundError, UsageError
from edgemgr.model.timestamp import utc_now
from edgemgr.store.database import Database


class Console:
    """Runs commands over one failed, one waiting and some old operations of two sites."""

    def __init__(self) -> None:
        with open_app() as app:
            self.fill(app.database)

    def fill(self, store: Database) -> None:
        a = add_site(store, "a", labels={"region": "emea"})
        b = add_site(store, "b", labels={"region": "apac"})
        self.old = []
        for age in (200, 150, 120):
            moment = utc_now() - timedelta(days=age)
            fields = {"created_at": moment, "finished_at": moment, "request": "r-old", "actor": "watch"}
            self.old.append(add_operation(store, a, "probe", "succeeded", **fields))
        self.failed = add_operation(store, a, "verify", "failed", code="E-K3S", request="r-2")
        add_attempt(store, self.failed, outcome="timed_out")
        self.waiting = add_operation(store, b, "bootstrap", waiting_for="contact")

    def __call__(self, *arguments: str) -> Result:
        apps = {"operation": operation.app, "database": database.app}
        result = CliRunner().invoke(apps[arguments[0]], arguments[1:])
        if isinstance(result.exception, EdgemgrError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    def ids(self, *arguments: str) -> list[int]:
        return [int(line) for line in self("operation", "list", "-o", "name", *arguments).stdout.split()]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Console:
    monkeypatch.setenv("EDGEMGR_STATE_DIR", str(tmp_path / "state"))
    return Console()


def test_operations_are_listed_newest_first_and_the_other_way_round(console: Console) -> None:
    every = [*console.old, console.failed, console.waiting]
    assert console.ids() == every[::-1]
    assert console.ids("--oldest-first") == every
    assert console.ids("--limit", "2") == every[:-3:-1]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ("a", "old failed"),
        ("-l region=apac", "waiting"),
        ("--filter name=b", "waiting"),
        ("-l region=emea --filter name=b", ""),
        ("--open", "waiting"),
        ("--state failed --state canceled", "failed"),
        ("--kind bootstrap", "waiting"),
        ("--waiting-for contact", "waiting"),
        ("--waiting-for resume", ""),
        ("--request r-2", "failed"),
        ("--actor watch", "old"),
        ("--code E-K3S", "failed"),
        ("--outcome timed_out", "failed"),
        ("--since 1h", "failed waiting"),
        ("--until 100d", "old"),
        ("--ended-since 1d", "failed"),
        ("--ended-until 100d", "old"),
        ("--due-before 30d", "waiting"),
        ("--due-before 1h", ""),
        ("--since 2000-01-01 --until 2001-01-01T00:00+02:00", ""),
    ],
)
def test_every_filter_chooses_what_it_says(console: Console, options: str, chosen: str) -> None:
    numbers = {"old": console.old, "failed": [console.failed], "waiting": [console.waiting]}
    expected = sorted(number for word in chosen.split() for number in numbers[word])
    assert sorted(console.ids(*options.split())) == expected
    assert console("operation", "list", *options.split(), "--count").stdout == f"{len(expected)}\n"


def test_a_list_goes_on_where_the_last_page_ended(console: Console) -> None:
    first = console.ids("--limit", "2")
    assert console.ids("--before", str(first[-1])) == console.old[::-1]
    assert console.ids("--oldest-first", "--after", str(console.failed)) == [console.waiting]


def test_json_counts_what_is_on_other_pages_too(console: Console) -> None:
    document = json.loads(console("operation", "list", "-o", "json", "--limit", "1").stdout)
    assert (document["kind"], document["total"], len(document["items"])) == ("OperationList", 5, 1)


def test_csv_has_every_column(console: Console) -> None:
    rows = list(csv.DictReader(io.StringIO(console("operation", "list", "a", "-o", "csv").stdout)))
    assert {row["by"] for row in rows} == {"ada", "watch"}
    assert rows[0]["code"] == "E-K3S"


def test_show_prints_the_operation_and_its_attempts(console: Console) -> None:
    document = json.loads(console("operation", "show", str(console.failed), "-o", "json").stdout)
    assert document["operation"]["code"] == "E-K3S"
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["timed_out"]


@pytest.mark.parametrize("moment", ["yesterday", "5x", "2026-13-01", "99999999999d"])
def test_a_moment_that_is_none_is_refused(console: Console, moment: str) -> None:
    with pytest.raises(UsageError) as caught:
        console("operation", "list", "--since", moment)
    assert caught.value.code == "E-USAGE-MOMENT"


def test_an_unknown_site_is_named(console: Console) -> None:
    with pytest.raises(NotFoundError, match="there is no site nobody"):
        console("operation", "list", "nobody")


def test_prune_counts_first_and_removes_then(console: Console) -> None:
    planned = console("database", "prune", "--dry-run").stdout
    assert planned == "would remove 2 operations and 0 events, and their logs\n"
    assert len(console.ids()) == 5
    done = json.loads(console("database", "prune", "-o", "json").stdout)
    assert (done["kind"], done["operations"], done["dryRun"]) == ("Pruning", 2, False)
    assert console.ids("--actor", "watch") == [console.old[-1]]


def test_prune_takes_another_age(console: Console) -> None:
    assert "removed 1 operations" in console("database", "prune", "--older-than", "180d").stdout
    assert console.ids("--actor", "watch") == console.old[:0:-1]


def test_prune_has_no_table_of_its_own(console: Console) -> None:
    with pytest.raises(UsageError):
        console("database", "prune", "-o", "csv")
