"""`edgemgr stage`: asking, looking ahead, limits and windows, as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlmodel import select
from tests_support.bundle_shop import NEW, BundleShop
from tests_support.queue_requests import add_sites
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory.bundle_import import Importer
from edgemgr.model.operation import Operation, Priority
from edgemgr.model.transfer import Transfer
from edgemgr.settings import Settings


@pytest.fixture
def bundle(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An appliance with a bundle and three sites."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    shop = BundleShop.open(tmp_path / "shop")
    with open_app(settings) as appliance:
        shop.trusted_in(settings.trust_dir)
        Importer(appliance.database, settings, "anna").take(shop.bundle(3, (NEW,)))
        add_sites(appliance.database, 2, {"region": "emea"})
        add_sites(appliance.database, 1, name="other")
    return "retail/stable/3"


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["stage", *words])


def items(*words: str) -> list[dict]:
    done = run(*words, "-o", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["items"]


def operations(settings: Settings) -> list[Operation]:
    with open_app(settings) as appliance, appliance.database.read() as session:
        return list(session.exec(select(Operation).order_by(Operation.site_id)))


@pytest.mark.parametrize(
    "words", [("{}", "-l", "region=emea"), ("-l", "region=emea", "{}"), ("start", "{}", "site-1", "site-2")]
)
def test_a_bundle_is_asked_for_in_every_order_of_words(bundle: str, settings: Settings, words: tuple[str, ...]) -> None:
    done = run(*(word.format(bundle) for word in words))
    assert done.exit_code == 0, done.output
    asked = operations(settings)
    assert [(each.kind, each.params, each.priority) for each in asked] == [
        ("stage", {"bundle": bundle}, Priority.TRANSFER)
    ] * 2
    assert {(each.deadline_at - each.created_at).days for each in asked} == {30}


def test_a_dry_run_tells_bytes_and_eta_of_each_site_and_asks_nothing(bundle: str, settings: Settings) -> None:
    with open_app(settings) as appliance, appliance.database.write() as session:
        session.add(Transfer(site_id=1, bundle="retail/stable/2", log_mean=6.907755, log_variance=0.01))
    found = items(bundle, "-l", "region=emea", "--dry-run")
    assert [row["site"] for row in found] == ["site-1", "site-2"]
    assert found[0]["most_bytes"] == found[1]["most_bytes"] > 40_000
    assert found[0]["eta_s"] == pytest.approx(found[0]["most_bytes"] / 1000, rel=0.01)
    assert found[1]["eta_s"] is None
    assert operations(settings) == []


def test_the_status_shows_what_was_asked_and_how_far_it_is(bundle: str, settings: Settings) -> None:
    run(bundle, "site-1")
    with open_app(settings) as appliance, appliance.database.write() as session:
        row = Transfer(site_id=1, bundle=bundle, total_bytes=4000, held_bytes=1000, sent_bytes=1000)
        row.log_mean, row.log_variance = 6.907755, 0.01
        session.add(row)
    run("limit", "all", "500")
    (item,) = items("status")
    assert (item["site"], item["done_bytes"], item["total_bytes"]) == ("site-1", 2000, 4000)
    assert item["eta_s"] == pytest.approx(4.0), "no faster than its limit"
    table = run("status", "-l", "region=emea").stdout
    assert "50 %" in table
    assert "queued, waits for turn" in table


def test_limits_and_windows_are_set_shown_and_taken_away(bundle: str) -> None:
    assert run("limit", "label:vpn", "500K/s").exit_code == 0
    assert run("window", "label:vpn", "mon-fri 22:00-06:00", "--timezone", "Europe/Berlin").exit_code == 0
    (rule,) = items("rules")
    assert (rule["scope"], rule["limit_bytes_s"], rule["window"], rule["timezone"]) == (
        "label:vpn",
        500 * 1024,
        "mon-fri 22:00-06:00",
        "Europe/Berlin",
    )
    assert run("limit", "label:vpn", "none").exit_code == 0
    assert run("window", "label:vpn", "none").exit_code == 0
    assert items("rules") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("retail/stable/9", "site-1"), "E-BUNDLE-UNKNOWN"),
        (("retail", "site-1"), "E-BUNDLE-NAME"),
        (("{}", "site-1", "--all"), "E-OP-NO-SITE"),
        (("limit", "kind:stage", "5M"), "E-LIMIT-SCOPE"),
        (("limit", "all", "fast"), "E-USAGE-SIZE"),
        (("limit", "all", "none"), "E-LIMIT-UNKNOWN"),
        (("window", "all", "at night"), "E-WINDOW"),
        (("window", "all", "22:00-06:00", "--timezone", "Mars/Olympus"), "E-WINDOW-ZONE"),
        (("window", "site:store-1", "none"), "E-LIMIT-UNKNOWN"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_code(
    bundle: str, settings: Settings, words: tuple[str, ...], code: str
) -> None:
    done = run(*(word.format(bundle) for word in words))
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == code
    assert operations(settings) == []
