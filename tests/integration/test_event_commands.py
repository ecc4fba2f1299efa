"""`edgemgr event list` and `edgemgr bundle trust`: what the appliance did, and who asked for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.appliance import Appliance
from tests_support.bundle_shop import BundleShop

from edgemgr.bundles.keys import export_chain, export_root, load_signer, rotate_key
from edgemgr.model.event import Event, Reason
from edgemgr.model.timestamp import utc_now
from edgemgr.store import events
from edgemgr.store.database import Database
from edgemgr.store.events import EventFilter


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab")
    yield appliance
    appliance.close()


def reasons(appliance: Appliance, *options: str) -> list[str]:
    return [item["reason"] for item in appliance.items("event", "list", *options)]


def test_what_an_appliance_trusts_takes_in_and_refuses_is_told_by_events(appliance: Appliance, tmp_path: Path) -> None:
    shop = BundleShop.open(tmp_path / "shop")
    old = shop.bundle(1)
    root, chain = tmp_path / "root.json", tmp_path / "chain.json"
    root.write_bytes(export_root(shop.keys))
    fingerprint = load_signer(shop.keys, None).root.fingerprint
    appliance.run("bundle", "trust", "add", str(root), "--fingerprint", "SHA256:00", status=2)
    for _ in range(2):  # the second time changes nothing
        appliance.run("bundle", "trust", "add", str(root), "--fingerprint", fingerprint)
    appliance.run("bundle", "import", str(old))

    rotate_key(shop.keys, "release", passphrase=None, now=utc_now() - timedelta(days=1))
    stolen = tmp_path / "stolen.emb"
    stolen.write_bytes(old.read_bytes())
    appliance.run("bundle", "remove", "retail/stable/1")
    chain.write_text(appliance.run("bundle", "keys", "export-root", str(shop.keys), "--chain"))
    for _ in range(2):
        told = json.loads(appliance.run("bundle", "trust", "update", str(chain), "-o", "json"))
        assert told["version"] == 2
    refused = appliance.attempt("bundle", "import", str(stolen))
    assert "code: E-B020" in refused.stderr, "the key that signed it counts for nothing any more"

    rotate_key(shop.keys, "release", passphrase=None, now=utc_now() - timedelta(days=1))
    appliance.run("bundle", "import", str(shop.bundle(2)))
    assert reasons(appliance, "--appliance") == [
        "BundleImported",
        "TrustChanged",
        "BundleRefused",
        "TrustChanged",
        "BundleRemoved",
        "BundleImported",
        "TrustChanged",
        "TrustRefused",
    ]
    assert reasons(appliance, "--warnings") == ["BundleRefused", "TrustRefused"]
    assert len(reasons(appliance, "--reason", "TrustChanged", "--reason", "TrustRefused", "--limit", "3")) == 3
    (first,) = [item for item in appliance.items("event", "list") if item["reason"] == "TrustRefused"]
    assert "E-BUNDLE-FINGERPRINT" in first["message"]
    assert "E-BUNDLE-FINGERPRINT" in appliance.run("event", "list", "--reason", "TrustRefused", "-o", "csv")
    assert "root 3 of 'vendor'" in appliance.run("event", "list", "--limit", "2")


def test_an_update_that_does_not_follow_from_what_is_trusted_is_refused_and_told(
    appliance: Appliance, tmp_path: Path
) -> None:
    shop = BundleShop.open(tmp_path / "shop")
    (tmp_path / "chain").write_bytes(export_chain(shop.keys))
    refused = appliance.attempt("bundle", "trust", "update", str(tmp_path / "chain"))
    assert (refused.returncode, "code: E-B020" in refused.stderr) == (2, True)
    assert reasons(appliance, "--appliance") == ["TrustRefused"]
    assert appliance.items("bundle", "trust", "list") == []


@pytest.fixture
def told(database: Database) -> Database:
    """Events 1 to 4, a day between each and the next."""
    now = utc_now()
    rows = [
        Event(reason=Reason.BUNDLE_IMPORTED.value, message="", actor="anna"),
        Event(reason=Reason.BUNDLE_REFUSED.value, message="", actor="ben", type="warning"),
        Event(reason=Reason.SITE_CREATED.value, message="", actor="anna", site_id=7, site_name="store-1"),
        Event(reason=Reason.SITE_DELETED.value, message="", actor="ben", site_id=7, site_name="store-1"),
    ]
    with database.write() as session:
        for age, row in zip((4, 3, 2, 1), rows, strict=True):
            row.at = now - timedelta(days=age)
            session.add(row)
            session.flush()
    return database


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (EventFilter(), [4, 3, 2, 1]),
        (EventFilter(site="store-1"), [4, 3]),
        (EventFilter(appliance_only=True), [2, 1]),
        (EventFilter(reasons=(Reason.SITE_CREATED, Reason.BUNDLE_IMPORTED)), [3, 1]),
        (EventFilter(warnings_only=True), [2]),
        (EventFilter(actor="ben"), [4, 2]),
        (EventFilter(since=utc_now() - timedelta(days=2, hours=12)), [4, 3]),
        (EventFilter(until=utc_now() - timedelta(days=2, hours=12)), [2, 1]),
        (EventFilter(before_id=3), [2, 1]),
        (EventFilter(appliance_only=True, actor="ben"), [2]),
        (EventFilter(site="store-1", appliance_only=True), []),
    ],
)
def test_events_are_found_by_what_they_have_in_common(told: Database, wanted: EventFilter, ids: list[int]) -> None:
    with told.read() as session:
        assert [event.id for event in events.search(session, wanted, limit=10)] == ids
        assert [event.id for event in events.search(session, wanted, limit=1)] == ids[:1]
