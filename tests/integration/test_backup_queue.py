"""Backups in the queue: a pull follows from a backup, and sites are backed up by themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select
from tests_support.console_fleet import add_cluster, add_site
from tests_support.queue_requests import NOW, add_sites, ask, take

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.queue.backup_rounds import ask_for_backups
from edgemgr.queue.settle import settle_attempt
from edgemgr.settings import Settings
from edgemgr.store import attempts
from edgemgr.store.backup_schedule_dues import FIRST_AFTER_S
from edgemgr.store.database import Database

DAY = timedelta(days=1)


def operations(database: Database) -> list[Operation]:
    with database.read() as session:
        return list(session.exec(select(Operation).order_by(Operation.id)))


def settle(database: Database, result: AttemptResult, *, transfers: bool = False) -> None:
    from edgemgr.store.claim import claim

    with database.write() as session:
        claimed = claim(
            session, worker_id="w1", zones=(), batch="b", limit=50, max_running=1000, transfers=transfers, now=NOW
        )
    for item in claimed:
        settle_attempt(database, item.attempt.id or 0, result, worker_id="w1", now=NOW)


def test_a_pull_follows_from_a_backup_that_was_taken_within_the_same_request(database: Database) -> None:
    ask(database, add_sites(database, 2), OperationKind.BACKUP, request="r7")
    settle(database, AttemptResult(Outcome.SUCCEEDED))
    found = operations(database)
    assert [(each.kind, each.state, each.request, each.actor) for each in found] == [
        *[("backup", "succeeded", "r7", "test")] * 2,
        *[("pull", "queued", "r7", "test")] * 2,
    ]
    assert {each.priority for each in found if each.kind == "pull"} == {Priority.TRANSFER}
    settle(database, AttemptResult(Outcome.SUCCEEDED), transfers=True)
    assert {each.state for each in operations(database)} == {"succeeded"}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNREACHABLE, Outcome.REFUSED])
def test_nothing_follows_from_a_backup_that_was_not_taken(database: Database, outcome: Outcome) -> None:
    ask(database, add_sites(database, 1), OperationKind.BACKUP)
    settle(database, AttemptResult(outcome))
    assert [each.kind for each in operations(database)] == ["backup"]


def test_a_newer_backup_s_pull_takes_the_place_of_one_that_still_waits(database: Database) -> None:
    sites = add_sites(database, 1)
    for request in ("r1", "r2"):
        ask(database, sites, OperationKind.BACKUP, request=request)
        settle(database, AttemptResult(Outcome.SUCCEEDED))
    assert [(each.request, each.state) for each in operations(database) if each.kind == "pull"] == [
        ("r1", "canceled"),
        ("r2", "queued"),
    ]


def test_all_attempts_of_an_operation_go_by_the_number_of_the_first(database: Database) -> None:
    ask(database, add_sites(database, 1), OperationKind.BACKUP)
    (first,) = take(database)
    lost = AttemptResult(Outcome.UNREACHABLE, message="the link was cut")
    settle_attempt(database, first.attempt.id or 0, lost, worker_id="w1", now=NOW)
    (second,) = take(database, now=NOW + 10 * DAY)
    assert (second.attempt.id or 0) > (first.attempt.id or 0)
    with database.read() as session:
        assert attempts.first_of(session, second.operation.id or 0) == first.attempt.id


@pytest.fixture
def site(database: Database) -> int:
    """One with k3s, added a week ago."""
    site = add_site(database, "store-1", created_at=NOW - 7 * DAY)
    add_cluster(database, site)
    return site


def test_a_site_is_backed_up_once_in_the_interval(database: Database, settings: Settings, site: int) -> None:
    assert ask_for_backups(database, settings, NOW) == 1
    (asked,) = operations(database)
    assert (asked.kind, asked.priority, asked.actor) == ("backup", Priority.BACKGROUND, "schedule")
    settle(database, AttemptResult(Outcome.SUCCEEDED))
    assert ask_for_backups(database, settings, NOW + timedelta(hours=23)) == 0
    assert ask_for_backups(database, settings, NOW + timedelta(hours=25)) == 1


def test_one_that_an_operator_asked_for_counts_as_well(database: Database, settings: Settings, site: int) -> None:
    ask(database, [site], OperationKind.BACKUP)
    assert ask_for_backups(database, settings, NOW + timedelta(hours=2)) == 0


def test_interval_0_asks_for_none(database: Database, settings: Settings, site: int) -> None:
    assert ask_for_backups(database, settings.model_copy(update={"backup_interval_s": 0.0}), NOW) == 0


@pytest.mark.parametrize("fields", [{"k3s_version": None}, {"reachability": "unreachable"}])
def test_sites_without_k3s_or_without_contact_are_left_alone(
    database: Database, settings: Settings, fields: dict[str, str | None]
) -> None:
    add_cluster(database, add_site(database, "store-1", created_at=NOW - 7 * DAY), **fields)
    assert ask_for_backups(database, settings, NOW) == 0


def test_a_site_that_was_just_added_is_given_an_hour(database: Database, settings: Settings) -> None:
    add_cluster(database, add_site(database, "store-1", created_at=NOW))
    assert ask_for_backups(database, settings, NOW + timedelta(seconds=FIRST_AFTER_S - 1)) == 0
    assert ask_for_backups(database, settings, NOW + timedelta(seconds=FIRST_AFTER_S + 1)) == 1


def test_a_fleet_is_asked_a_few_at_a_time(database: Database, settings: Settings) -> None:
    for site in add_sites(database, 70):
        add_cluster(database, site)
    later = NOW + 400 * DAY
    assert [ask_for_backups(database, settings, later) for _ in range(3)] == [50, 20, 0]
