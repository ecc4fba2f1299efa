"""Upgrades wait for their hours: nobody connects to a site outside of them, and what has begun there goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select, update
from tests_support.queue_requests import NOW, every_operation, take

from edgemgr.errors import InventoryError
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.operations import upgrade
from edgemgr.operations.upgrade import Upgrade, UpgradeParams
from edgemgr.settings import Settings
from edgemgr.store import operations, upgrade_windows
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

NIGHT = "22:00-06:00"
OLD = "v1.33.5+k3s1"
FAR_EAST = "Pacific/Auckland"  # where it is one o'clock at night when it is noon in UTC


def ask_upgrades(
    database: Database, zones: dict[str, str | None], *, window: str | None = NIGHT, goal: str = "v1.34.1+k3s1"
) -> None:
    params = {"bundle": "retail/stable/1", "version": goal, "window": window}
    with database.write() as session:
        sites = [Site(name=name, address=f"{name}.example", timezone=zone) for name, zone in zones.items()]
        session.add_all(sites)
        session.flush()
        session.add_all([Cluster(site_id=site.id or 0, k3s_version=OLD) for site in sites])
        wanted = [
            NewOperation(
                site.id or 0, site.name, OperationKind.UPGRADE, params, "upgrade", Priority.INTERACTIVE, max_attempts=3
            )
            for site in sites
        ]
        deadline_at = NOW + timedelta(days=7)
        operations.submit(session, wanted, request="r", actor="test", deadline_at=deadline_at, now=NOW)


def waiting(database: Database) -> list[Operation]:
    return [operation for operation in every_operation(database) if operation.waiting_for == "window"]


def test_where_it_is_day_an_upgrade_waits_for_the_night_without_an_attempt(database: Database) -> None:
    ask_upgrades(database, {"here": None, "there": FAR_EAST})
    assert [item.site_name for item in take(database)] == ["there"]
    (held,) = waiting(database)
    assert (held.state, held.attempts, held.code) == ("queued", 0, "E-UPGRADE-CLOSED")
    assert (held.not_before, held.message) == (NOW + timedelta(hours=10), "its hours begin at 2026-11-20 22:00 UTC")


def test_it_begins_when_its_hours_come(database: Database) -> None:
    ask_upgrades(database, {"here": None})
    assert take(database) == []
    assert len(take(database, now=NOW + timedelta(hours=10))) == 1


def test_what_was_woken_outside_of_its_hours_waits_again(database: Database) -> None:
    ask_upgrades(database, {"here": None})
    take(database)
    with database.write() as session:
        session.execute(update(Operation).values(not_before=NOW))
    assert take(database) == []
    assert [held.not_before for held in waiting(database)] == [NOW + timedelta(hours=10)]


def test_too_late_in_its_hours_for_all_hops_it_waits_for_the_next(database: Database) -> None:
    ask_upgrades(database, {"here": None}, window="11:00-12:30", goal="v1.35.2+k3s1")
    assert take(database) == []
    assert [held.not_before for held in waiting(database)] == [NOW + timedelta(hours=23)]
    assert len(take(database, now=NOW + timedelta(hours=23))) == 1


def test_one_hop_fits_where_two_do_not(database: Database) -> None:
    ask_upgrades(database, {"here": None}, window="11:00-12:30")
    assert len(take(database)) == 1


def test_without_hours_nothing_waits(database: Database) -> None:
    ask_upgrades(database, {"here": None}, window=None)
    assert len(take(database)) == 1


def test_what_was_tried_is_asked_of_the_node_which_alone_knows_whether_it_has_begun(database: Database) -> None:
    ask_upgrades(database, {"here": None})
    with database.write() as session:
        session.execute(update(Operation).values(attempts=1))
    assert len(take(database)) == 1


def test_a_time_zone_that_nobody_knows_keeps_it_waiting_and_nobody_else(database: Database) -> None:
    ask_upgrades(database, {"here": "Atlantis/Capital", "there": FAR_EAST})
    assert [item.site_name for item in take(database)] == ["there"]
    assert len(waiting(database)) == 1


def test_behind_many_that_wait_for_their_hours_others_begin_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade_windows, "ALIKE_LIMIT", 20)
    ask_upgrades(database, {f"here-{number}": None for number in range(50)})
    ask_upgrades(database, {"there": FAR_EAST})
    assert [item.site_name for item in take(database, limit=5)] == ["there"]
    assert len(waiting(database)) == 50


@pytest.mark.parametrize(
    ("hours", "opens_in_s"),
    [((None, None), 0), ((NIGHT, FAR_EAST), 0), ((NIGHT, None), 10 * 3600), ((NIGHT, "Atlantis/Capital"), 3600)],
)
def test_the_node_is_told_how_long_it_is_until_it_may_begin(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    hours: tuple[str | None, str | None],
    opens_in_s: int,
) -> None:
    window, zone = hours
    monkeypatch.setattr(upgrade, "utc_now", lambda: NOW)
    ask_upgrades(database, {"here": zone})
    params = UpgradeParams(bundle="retail/stable/1", version="v1.34.1+k3s1", window=window)
    with database.read() as session:
        site = session.exec(select(Site)).one()
        assert Upgrade().variables(session, params, site, settings)["edge_opens_in_s"] == opens_in_s


def test_hours_that_cannot_be_read_are_refused_when_they_are_asked_for() -> None:
    with pytest.raises(InventoryError, match="at night"):
        UpgradeParams(bundle="retail/stable/1", version="v1.34.1+k3s1", window="at night")
