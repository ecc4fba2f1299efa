"""What sites hold, told by stages, receipts and resets; and what is under way, counted by bundle."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests_support.console_fleet import add_operation, add_site

from edgemgr.model.timestamp import utc_now
from edgemgr.model.transfer import Transfer
from edgemgr.model.work_order import WorkOrder, WorkOrderSite
from edgemgr.store.bundle_holdings import Holders, holder_counts, holder_ids, holders_of, holdings_of
from edgemgr.store.database import Database
from edgemgr.store.stages_open import first_sites, open_stages

OLD, MIDDLE, NEW = (f"retail/stable/{number}" for number in (1, 2, 3))
NOW = utc_now()


@pytest.fixture
def site(database: Database) -> int:
    return add_site(database, "store-1")


def staged(database: Database, site: int, bundle: str, days_ago: float, state: str = "succeeded") -> None:
    finished_at = NOW - timedelta(days=days_ago)
    add_operation(database, site, "stage", state, params={"bundle": bundle}, finished_at=finished_at)


def by_stick(database: Database, site: int, bundle: str, days_ago: float, *, has_clock: bool = True) -> None:
    at = NOW - timedelta(days=days_ago)
    with database.write() as session:
        order = WorkOrder(bundle=bundle, created_by="anna")
        session.add(order)
        session.flush()
        row = WorkOrderSite(order_id=order.id, site_id=site, arch="amd64", received_at=at)
        row.staged_at = at if has_clock else None
        session.add(row)


def held(database: Database, site: int) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(holding.bundle, holding.by) for holding in holdings_of(session, site)]


def test_a_node_keeps_what_came_last_and_the_one_before(database: Database, site: int) -> None:
    assert held(database, site) == []
    for bundle, days_ago in ((OLD, 9), (MIDDLE, 5), (NEW, 1)):
        staged(database, site, bundle, days_ago)
    assert held(database, site) == [(NEW, "link"), (MIDDLE, "link")]


def test_a_bundle_that_came_again_counts_once_and_by_its_latest_way(database: Database, site: int) -> None:
    staged(database, site, OLD, 9)
    staged(database, site, MIDDLE, 5)
    by_stick(database, site, OLD, 1)
    assert held(database, site) == [(OLD, "stick"), (MIDDLE, "link")]


def test_what_did_not_end_well_is_not_held(database: Database, site: int) -> None:
    staged(database, site, OLD, 9)
    for state in ("failed", "canceled", "expired"):
        staged(database, site, NEW, 1, state)
    add_operation(database, site, "stage", "running", params={"bundle": MIDDLE})
    assert held(database, site) == [(OLD, "link")]


def test_an_order_is_held_from_its_receipt_on_even_if_the_nodes_clock_is_wrong(database: Database, site: int) -> None:
    with database.write() as session:
        order = WorkOrder(bundle=OLD, created_by="anna")
        session.add(order)
        session.flush()
        session.add(WorkOrderSite(order_id=order.id, site_id=site, arch="amd64"))
    assert held(database, site) == []
    by_stick(database, site, NEW, 2, has_clock=False)
    assert held(database, site) == [(NEW, "stick")]


def test_a_reset_takes_all_away_until_something_comes_again(database: Database, site: int) -> None:
    staged(database, site, OLD, 9)
    by_stick(database, site, MIDDLE, 8)
    add_operation(database, site, "reset", "failed", finished_at=NOW - timedelta(days=7))
    assert len(held(database, site)) == 2
    add_operation(database, site, "reset", "succeeded", finished_at=NOW - timedelta(days=6))
    assert held(database, site) == []
    staged(database, site, OLD, 1)
    assert held(database, site) == [(OLD, "link")]


def test_the_sites_that_hold_a_bundle_are_counted_and_named(database: Database) -> None:
    sites = [add_site(database, f"store-{number}") for number in range(1, 5)]
    for site in sites[:3]:
        staged(database, site, OLD, 3)
    staged(database, sites[0], NEW, 2)
    by_stick(database, sites[3], NEW, 1)
    with database.read() as session:
        assert holder_counts(session) == {OLD: 3, NEW: 2}
        assert holder_ids(session, NEW) == {sites[0], sites[3]}
        assert holders_of(session, MIDDLE, limit=2) == Holders(0, ())
        assert holders_of(session, OLD, limit=2) == Holders(3, ("store-1", "store-2"))


def test_what_is_under_way_is_counted_by_bundle_with_its_bytes(database: Database) -> None:
    sites = [add_site(database, f"store-{number}") for number in range(1, 6)]
    for site, state, bundle in zip(
        sites, ("queued", "running", "queued", "running", "succeeded"), (NEW, NEW, NEW, OLD, NEW), strict=True
    ):
        add_operation(database, site, "stage", state, params={"bundle": bundle})
    add_operation(database, add_site(database, "other"), "bootstrap", "running", params={"version": "v"})
    with database.write() as session:
        session.add(Transfer(site_id=sites[0], bundle=OLD, total_bytes=7, held_bytes=7))  # of the one before
        session.add(Transfer(site_id=sites[1], bundle=NEW, total_bytes=100, held_bytes=20, sent_bytes=30))
        session.add(Transfer(site_id=sites[2], bundle=NEW, total_bytes=100, held_bytes=80, sent_bytes=30))
        session.add(Transfer(site_id=sites[4], bundle=NEW, total_bytes=100, held_bytes=100))
    with database.read() as session:
        counts = open_stages(session)
        assert set(counts) == {OLD, NEW}
        new = counts[NEW]
        assert (new.running, new.waiting, new.sites, new.done_bytes, new.total_bytes) == (1, 2, 3, 150, 200)
        assert (counts[OLD].done_bytes, counts[OLD].total_bytes) == (0, 0)
        assert first_sites(session, bundle=NEW, limit=2) == [sites[1], sites[0]]
        assert set(first_sites(session, limit=10)) == set(sites[:4])
