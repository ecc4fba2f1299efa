"""The queue's rules in the database, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from tests_support.hand_clock import Hands

from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.event import Event, Reason
from edgemgr.model.operation import Operation, OperationKind, OperationState, Priority, WaitingFor
from edgemgr.model.site import Site
from edgemgr.queue.reaper import expire
from edgemgr.queue.settle import settle_attempt
from edgemgr.status.apply import note_contact
from edgemgr.store import attempts, operations
from edgemgr.store.addresses import addresses
from edgemgr.store.claim import Claimed, claim
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FAILED = AttemptResult(Outcome.FAILED, code="E-X", message="broke")
AWAY = AttemptResult(Outcome.UNREACHABLE, message="no answer")
DONE = AttemptResult(Outcome.SUCCEEDED)


def add_sites(database: Database, count: int) -> list[int]:
    with database.write() as session:
        sites = [Site(name=f"site-{n}", address=f"192.0.2.{n}") for n in range(1, count + 1)]
        session.add_all(sites)
        session.flush()
        return [site.id or 0 for site in sites]


def ask(
    database: Database,
    site_ids: Sequence[int],
    kind: OperationKind = OperationKind.VERIFY,
    *,
    priority: int = Priority.INTERACTIVE,
    days: float = 1,
    now: datetime = NOW,
) -> None:
    wanted = [
        NewOperation(site_id, f"site-{site_id}", kind, {}, kind.value, priority, max_attempts=3) for site_id in site_ids
    ]
    with database.write() as session:
        operations.submit(session, wanted, request="r", actor="test", deadline_at=now + timedelta(days=days), now=now)


def take(database: Database, worker: str = "w1", limit: int = 50, now: datetime = NOW) -> list[Claimed]:
    with database.write() as session:
        return claim(session, worker_id=worker, zones=(), batch="b", limit=limit, max_running=1000, now=now)


def all_operations(database: Database) -> Sequence[Operation]:
    with database.read() as session:
        return session.exec(select(Operation).order_by(col(Operation.id))).all()


def test_a_claim_takes_one_operation_of_each_site_and_makes_its_attempt(database: Database) -> None:
    ask(database, add_sites(database, 3))
    claimed = take(database)
    assert [item.site_name for item in claimed] == ["site-1", "site-2", "site-3"]
    assert {item.operation.state for item in claimed} == {"running"}
    assert {item.attempt.number for item in claimed} == {1}
    assert take(database) == []


def test_the_next_operation_of_a_site_waits_for_the_one_that_runs(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites, OperationKind.VERIFY)
    ask(database, sites, OperationKind.PROBE)
    first = take(database)
    assert [item.operation.kind for item in first] == ["verify"]
    assert take(database) == []
    settle_attempt(database, first[0].attempt.id or 0, DONE, worker_id="w1", now=NOW)
    assert [item.operation.kind for item in take(database)] == ["probe"]


def test_an_operator_who_waits_goes_before_what_runs_in_the_background(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites, OperationKind.PROBE, priority=Priority.BACKGROUND)
    ask(database, sites, OperationKind.VERIFY, priority=Priority.INTERACTIVE)
    assert [item.operation.kind for item in take(database)] == ["verify"]


def test_only_operations_that_may_travel_together_are_claimed_together(database: Database) -> None:
    first, second = add_sites(database, 2)
    ask(database, [first], OperationKind.VERIFY)
    ask(database, [second], OperationKind.PROBE)
    assert [item.operation.kind for item in take(database)] == ["verify"]
    assert [item.operation.kind for item in take(database)] == ["probe"]


def test_a_newer_request_of_the_same_kind_takes_the_place_of_the_older(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    ask(database, sites)
    older, newer = all_operations(database)
    assert (older.state, older.code) == ("canceled", "E-OP-SUPERSEDED")
    assert (newer.state, newer.is_head) == ("queued", True)


def test_a_retry_gives_way_to_a_newer_request_that_came_while_it_ran(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    running = take(database)[0]
    ask(database, sites)
    settle_attempt(database, running.attempt.id or 0, FAILED, worker_id="w1", now=NOW)
    older, newer = all_operations(database)
    assert (older.state, older.code) == ("canceled", "E-OP-SUPERSEDED")
    assert (newer.state, newer.is_head) == ("queued", True)


def test_unreachable_leaves_the_operation_queued_with_its_attempts_unspent(database: Database) -> None:
    ask(database, add_sites(database, 1))
    item = take(database)[0]
    settle_attempt(database, item.attempt.id or 0, AWAY, worker_id="w1", now=NOW)
    (operation,) = all_operations(database)
    assert (operation.state, operation.waiting_for, operation.spent, operation.unreached) == ("queued", "contact", 0, 1)
    assert operation.not_before > NOW
    assert take(database) == []


def test_a_site_that_answers_again_wakes_what_waits_for_it_and_nothing_else(database: Database) -> None:
    back, gone = add_sites(database, 2)
    ask(database, [back, gone])
    for item in take(database):
        settle_attempt(database, item.attempt.id or 0, AWAY, worker_id="w1", now=NOW)
    with database.write() as session:
        assert operations.wake(session, [back], now=NOW) == 1
    assert [item.operation.site_id for item in take(database)] == [back]


def test_failures_are_counted_and_end_the_operation(database: Database) -> None:
    ask(database, add_sites(database, 1))
    moment = NOW
    for _ in range(3):
        item = take(database, now=moment)[0]
        settle_attempt(database, item.attempt.id or 0, FAILED, worker_id="w1", now=moment)
        moment += timedelta(hours=1)
    (operation,) = all_operations(database)
    assert (operation.state, operation.spent, operation.message) == ("failed", 3, "broke")
    assert operation.finished_at is not None


def test_cancel_ends_what_waits_and_asks_what_runs_to_stop(database: Database) -> None:
    one, two = add_sites(database, 2)
    ask(database, [one])
    running = take(database)[0]
    ask(database, [two])
    waiting_id = all_operations(database)[1].id or 0
    with database.write() as session:
        assert operations.cancel(session, [running.operation.id or 0, waiting_id], actor="test", now=NOW) == (1, 1)
    with database.read() as session:
        assert attempts.held(session, "w1") == {running.attempt.id: True}
    settle_attempt(database, running.attempt.id or 0, AttemptResult(Outcome.CANCELED), worker_id="w1", now=NOW)
    assert [operation.state for operation in all_operations(database)] == ["canceled", "canceled"]


def test_canceling_the_first_in_line_lets_the_next_one_run(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites, OperationKind.VERIFY)
    ask(database, sites, OperationKind.PROBE)
    with database.write() as session:
        operations.cancel(session, [all_operations(database)[0].id or 0], actor="test", now=NOW)
    assert [item.operation.kind for item in take(database)] == ["probe"]


def test_what_waits_past_its_deadline_expires_and_says_what_it_waited_for(database: Database) -> None:
    ask(database, add_sites(database, 1), days=1)
    item = take(database)[0]
    settle_attempt(database, item.attempt.id or 0, AWAY, worker_id="w1", now=NOW)
    hands = Hands(NOW)
    clock = hands.clock()
    hands.run(23 * 3600)
    assert expire(database, clock) == 0
    hands.run(2 * 3600)
    assert expire(database, clock) == 1
    (operation,) = all_operations(database)
    assert (operation.state, operation.code) == ("expired", "E-OP-EXPIRED")
    assert "no answer" in operation.message


def test_the_database_refuses_two_running_operations_of_one_site(database: Database) -> None:
    (site,) = add_sites(database, 1)
    ask(database, [site], OperationKind.VERIFY)
    take(database)
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(
            Operation(
                site_id=site,
                kind="probe",
                state=OperationState.RUNNING.value,
                is_head=True,
                batch_key="k",
                request="r",
                actor="test",
                deadline_at=NOW,
            )
        )


def test_the_database_refuses_two_queued_operations_of_one_kind(database: Database) -> None:
    (site,) = add_sites(database, 1)
    ask(database, [site])
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Operation(site_id=site, kind="verify", batch_key="k", request="r", actor="test", deadline_at=NOW))


def test_every_change_of_an_operation_is_an_event(database: Database) -> None:
    ask(database, add_sites(database, 1))
    item = take(database)[0]
    settle_attempt(database, item.attempt.id or 0, DONE, worker_id="w1", now=NOW)
    with database.read() as session:
        reasons = [event.reason for event in session.exec(select(Event).order_by(col(Event.id))).all()]
    assert reasons == [Reason.OPERATION_QUEUED.value, Reason.OPERATION_SUCCEEDED.value]


def test_workers_that_claim_at_the_same_time_share_the_work_without_doubles(database: Database) -> None:
    site_ids = add_sites(database, 60)
    ask(database, site_ids)
    taken: list[int] = []

    def work(name: str) -> None:
        for _ in range(200):
            claimed = take(database, worker=name, limit=3)
            if not claimed:
                return
            taken.extend(item.operation.site_id for item in claimed)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(taken) == sorted(site_ids)
    with database.read() as session:
        assert len(session.exec(select(Attempt)).all()) == len(site_ids)


def test_ten_thousand_sites_are_asked_in_one_go(database: Database) -> None:
    with database.write() as session:
        session.add_all([Site(name=f"s{n}", address="192.0.2.1", port=n + 1) for n in range(10_000)])
    with database.read() as session:
        ids = [site_id for site_id in session.exec(select(Site.id)).all() if site_id is not None]
    ask(database, ids)
    with database.read() as session:
        heads = session.exec(select(Operation.id).where(col(Operation.is_head))).all()
    assert len(heads) == len(ids)
    assert len(take(database, limit=200)) == 200


def test_waiting_says_what_for(database: Database) -> None:
    ask(database, add_sites(database, 1))
    assert all_operations(database)[0].waiting_for == WaitingFor.TURN.value


@pytest.mark.parametrize(
    ("answered", "seconds_ago", "is_awake"), [(True, 9, True), (True, 11, False), (True, -1, False), (False, 9, False)]
)
def test_who_answered_a_moment_ago_is_awake_and_who_fell_silent_since_is_not(
    database: Database, answered: bool, seconds_ago: int, is_awake: bool
) -> None:
    site_id, other = add_sites(database, 2)
    at = NOW - timedelta(seconds=seconds_ago)
    with database.write() as session:
        note_contact(session, site_id, "site-1", reachable=True, detail="", now=at)
        if not answered:
            note_contact(session, site_id, "site-1", reachable=False, detail="nothing came", now=at)
    with database.read() as session:
        found = addresses(session, [site_id, other], now=NOW)
    assert (found[site_id].is_awake, found[other].is_awake) == (is_awake, False)
