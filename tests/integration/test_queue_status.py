"""What one screen tells of the queue: what runs, what waits and for what, how fast it goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tests_support.queue_requests import NOW, add_sites, ask, set_limit, take

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.model.worker import Worker
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import pauses
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database
from edgemgr.store.queue_status import QueueStatus, limit_rows, queue_status

LATER = NOW + timedelta(minutes=10)


def look(database: Database, *, max_running: int = 200) -> QueueStatus:
    with database.read() as session:
        return queue_status(session, max_running=max_running, now=LATER)


def add_worker(database: Database, name: str, zones: str = "") -> None:
    with database.write() as session:
        session.add(Worker(id=name, host="h", boot_id="b", pid=1, pid_started=1, version="1", zones=zones))


def settle(database: Database, claimed: Sequence[Claimed], outcome: Outcome, minutes_ago: float = 1) -> None:
    for item in claimed:
        settle_attempt(
            database,
            item.attempt.id or 0,
            AttemptResult(outcome),
            worker_id=item.attempt.worker_id,
            now=LATER - timedelta(minutes=minutes_ago),
        )


def reasons(status: QueueStatus) -> dict[tuple[str, str], int]:
    return {(item.reason, item.subject): item.sites for item in status.waiting}


def test_an_empty_queue_has_nothing_to_tell(database: Database) -> None:
    status = look(database)
    assert (status.running, status.queued, status.behind, status.waiting, status.empty_in_s) == (0, 0, 0, (), None)
    assert [(use.scope, use.running, use.most) for use in status.limits] == [("all", 0, 200)]


def test_what_runs_is_told_by_kind_and_by_worker_the_oldest_first(database: Database) -> None:
    sites = add_sites(database, 5)
    add_worker(database, "w1")
    add_worker(database, "w2", "emea,apac")
    ask(database, sites[:3])
    ask(database, sites[3:], OperationKind.PROBE)
    take(database, "w1", now=NOW)
    take(database, "w2", now=NOW + timedelta(minutes=1))
    status = look(database)
    assert status.running_by_kind == {"verify": 3, "probe": 2}
    assert [(load.worker_id, load.zones, load.running, load.oldest_at) for load in status.workers] == [
        ("w1", (), 3, NOW),
        ("w2", ("emea", "apac"), 2, NOW + timedelta(minutes=1)),
    ]
    assert [item.site for item in status.oldest_running] == ["site-1", "site-2", "site-3"]


def test_every_site_that_waits_is_told_with_what_it_waits_for(database: Database) -> None:
    add_worker(database, "w1")
    away = add_sites(database, 4, name="away")
    ask(database, away, OperationKind.RESET)
    settle(database, take(database), Outcome.UNREACHABLE, minutes_ago=8)
    broken = add_sites(database, 2, name="broken")
    ask(database, broken, OperationKind.RESET)
    settle(database, take(database), Outcome.FAILED, minutes_ago=7)
    stopped = add_sites(database, 3, name="stopped")
    ask(database, stopped, OperationKind.PROBE)
    with database.write() as session:
        pauses.pause(session, stopped, reason="", actor="ann", now=NOW)
    link = add_sites(database, 5, {"vpn": "lte-7"}, name="link")
    set_limit(database, "label:vpn=lte-7", 1)
    ask(database, [*link, *add_sites(database, 6, name="turn")])
    ask(database, link, OperationKind.PROBE)
    assert len(take(database, limit=1)) == 1

    status = look(database)
    assert reasons(status) == {
        ("contact", ""): 4,
        ("backoff", ""): 2,
        ("resume", ""): 3,
        ("limit", "label:vpn=lte-7"): 4,
        ("turn", ""): 6,
    }
    assert (status.queued, status.behind) == (24, 5)
    assert [(use.scope, use.running, use.most) for use in status.limits][1:] == [("label:vpn=lte-7", 1, 1)]
    assert all(item.oldest_at == NOW for item in status.waiting)
    assert {item.reason for item in status.waiting if item.next_at} == {"contact", "backoff"}


def test_when_the_whole_appliance_is_full_everything_waits_for_that(database: Database) -> None:
    add_worker(database, "w1")
    ask(database, add_sites(database, 5))
    take(database, max_running=2)
    assert reasons(look(database, max_running=2)) == {("limit", "all"): 3}


def test_a_zone_that_no_worker_serves_is_named(database: Database) -> None:
    ask(database, add_sites(database, 2, {"zone": "emea"}, name="emea"))
    ask(database, add_sites(database, 3, {"zone": "apac"}, name="apac"))
    ask(database, add_sites(database, 4, name="none"))
    assert reasons(look(database)) == {("zone", "every zone"): 9}
    add_worker(database, "w1", "emea")
    assert reasons(look(database)) == {("turn", ""): 2, ("zone", "apac"): 3, ("zone", "default"): 4}
    add_worker(database, "w2")
    assert reasons(look(database)) == {("turn", ""): 9}


def test_rates_say_how_fast_it_goes_and_when_the_queue_will_be_empty(database: Database) -> None:
    ask(database, add_sites(database, 30))
    settle(database, take(database, limit=10), Outcome.SUCCEEDED, minutes_ago=30)
    settle(database, take(database, limit=8), Outcome.SUCCEEDED)
    settle(database, take(database, limit=2), Outcome.REFUSED)
    status = look(database)
    short, long = status.rates
    assert (short.span_s, short.succeeded, short.failed) == (300, 8, 2)
    assert (long.span_s, long.succeeded, long.failed) == (3600, 18, 2)
    assert short.done_per_minute == 2.0
    assert status.empty_in_s == 300.0


def test_what_expires_within_a_day_is_counted(database: Database) -> None:
    sites = add_sites(database, 5)
    ask(database, sites[:2], now=NOW - timedelta(days=6, hours=12))
    ask(database, sites[2:])
    assert look(database).due_within_day == 2


def test_limits_are_listed_with_what_runs_within_them(database: Database) -> None:
    one = add_sites(database, 3, {"vpn": "one"}, name="one")
    two = add_sites(database, 3, {"vpn": "two"}, name="two")
    ask(database, [*one, *two[:1]])
    set_limit(database, "label:vpn", 2)
    set_limit(database, "kind:reset", 4)
    take(database)
    with database.read() as session:
        rows = limit_rows(session, max_running=50)
    assert [(row.scope, row.most, row.running) for row in rows] == [
        ("all", 50, 3),
        ("kind:reset", 4, 0),
        ("label:vpn", 2, 2),
    ]
