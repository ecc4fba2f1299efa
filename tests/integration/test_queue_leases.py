"""Leases in the database: who is given up, what becomes of what it held, and that it changes nothing any more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlmodel import col, select
from tests_support.hand_clock import NOON, Hands
from tests_support.machine import Machine

from edgemgr.errors import LeaseLostError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.event import Event, Reason
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.queue import reaper
from edgemgr.queue.identity import boot_id, new_worker, pid_namespace
from edgemgr.queue.retry import CONTACT_PAUSE_S, FAILURE_PAUSE_S
from edgemgr.queue.settle import settle_attempt
from edgemgr.settings import Settings
from edgemgr.store import attempts, operations, workers
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

DONE = AttemptResult(Outcome.SUCCEEDED)
AWAY = AttemptResult(Outcome.UNREACHABLE, message="no answer")
LEASE_S = 5.0


@pytest.fixture
def fleet(database: Database) -> list[int]:
    with database.write() as session:
        sites = [Site(name=f"site-{n}", address=f"192.0.2.{n}") for n in (1, 2, 3)]
        session.add_all(sites)
        session.flush()
        ids = [site.id or 0 for site in sites]
        wanted = [
            NewOperation(number, f"site-{number}", OperationKind.VERIFY, {}, "verify", Priority.INTERACTIVE, 3)
            for number in ids
        ]
        operations.submit(session, wanted, request="r", actor="test", deadline_at=NOON + timedelta(days=1), now=NOON)
    return ids


def all_operations(database: Database) -> Sequence[Operation]:
    with database.read() as session:
        return session.exec(select(Operation).order_by(col(Operation.id))).all()


def beat_together(hands: Hands, seconds: float, *machines: Machine) -> None:
    for _ in range(int(seconds)):
        hands.run(1.0)
        for machine in machines:
            machine.heart.beat()


def test_a_worker_of_another_machine_is_given_up_when_it_has_not_beaten_for_a_lease(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    hands = Hands()
    silent, other = Machine(database, settings, hands), Machine(database, settings, hands)
    if database.dialect == "postgresql":
        silent.go_elsewhere()
    else:
        silent.go_elsewhere(boot_id=boot_id(), pid_namespace="pid:[1]")
    lost = silent.take()
    beat_together(hands, LEASE_S - 1, other)
    assert {operation.state for operation in all_operations(database)} == {"running"}
    beat_together(hands, 3, other)
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("queued", 1)}
    again = other.take()
    assert min(item.attempt.id or 0 for item in again) > max(item.attempt.id or 0 for item in lost)
    for item in lost:
        with pytest.raises(LeaseLostError):
            settle_attempt(database, item.attempt.id or 0, DONE, worker_id=silent.id)
    assert {operation.state for operation in all_operations(database)} == {"running"}


def test_a_worker_that_beats_is_left_alone_however_late_its_clock_is(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    late = Hands(NOON - timedelta(days=4000))
    slow, other = Machine(database, settings, late), Machine(database, settings)
    slow.take()
    for _ in range(40):
        late.run(1.0)
        other.hands.run(1.0)
        slow.heart.beat()
        other.heart.beat()
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("running", 0)}


def test_a_worker_whose_process_is_gone_is_given_up_at_once(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    dead, other = Machine(database, settings), Machine(database, settings)
    dead.take()
    dead.lose_process()
    other.heart.beat()
    assert {(operation.state, operation.code) for operation in all_operations(database)} == {("queued", "E-OP-LOST")}
    with database.read() as session:
        assert session.exec(select(Event.message).where(Event.reason == Reason.WORKER_LOST.value)).one()


def test_a_process_id_of_another_namespace_proves_nothing(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    elsewhere, other = Machine(database, settings), Machine(database, settings)
    elsewhere.take()
    elsewhere.go_elsewhere(boot_id=boot_id(), pid_namespace="pid:[1]", pid_started=1)
    other.heart.beat()
    assert {operation.state for operation in all_operations(database)} == {"running"}


def test_a_worker_of_before_a_restart_is_dead_at_once_where_the_database_is_a_local_file(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    before, other = Machine(database, settings), Machine(database, settings)
    before.take()
    before.go_elsewhere()
    other.heart.beat()
    expected = "queued" if database.dialect == "sqlite" else "running"
    assert {operation.state for operation in all_operations(database)} == {expected}


def test_a_worker_that_finds_itself_given_up_lets_go_and_goes_on_under_a_new_name(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    hands = Hands()
    stopped, other = Machine(database, settings, hands), Machine(database, settings, hands)
    attempt_id = stopped.take()[0].attempt.id or 0
    before = stopped.heart.lease
    beat_together(hands, LEASE_S + 2, other)
    assert before.must_stop(attempt_id), "it stops by its own clock, whatever the database says"
    stopped.heart.beat()
    assert before.is_lost
    assert stopped.id != before.worker_id
    assert stopped.heart.lease.is_sure()
    stopped.results.store(before, attempt_id, DONE)
    assert len(stopped.results) == 0
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("queued", 1)}
    assert len(stopped.take()) == len(fleet)


def test_a_worker_that_was_given_up_claims_nothing(database: Database, settings: Settings, fleet: list[int]) -> None:
    machine = Machine(database, settings)
    with database.write() as session:
        assert workers.give_up(session, machine.id, beats=0, now=NOON)
        assert not workers.may_claim(session, machine.id)


def test_a_beat_between_the_look_and_the_verdict_saves_a_worker(database: Database, settings: Settings) -> None:
    machine = Machine(database, settings)
    machine.heart.beat()
    with database.write() as session:
        assert not workers.give_up(session, machine.id, beats=0, now=NOON)


def test_an_observer_that_was_away_itself_gives_nobody_up_for_that_time(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    hands = Hands()
    one, two = Machine(database, settings, hands), Machine(database, settings, hands)
    one.take()
    beat_together(hands, 2, one, two)
    hands.run(3600)  # the database was away for both
    two.heart.beat()
    one.heart.beat()
    two.heart.beat()
    assert not one.heart.lease.is_lost
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("running", 0)}


def test_losing_workers_again_and_again_ends_the_operation(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    for _ in range(4):
        dead = Machine(database, settings)
        dead.take()
        dead.lose_process()
        Machine(database, settings).heart.beat()
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("failed", 4)}


def test_an_attempt_that_nobody_knows_of_is_released(database: Database, settings: Settings, fleet: list[int]) -> None:
    machine = Machine(database, settings)
    machine.take()
    machine.heart.lease.held.clear()  # the server stored the claim, and its answer was lost
    machine.heart.beat()
    assert {operation.state for operation in all_operations(database)} == {"running"}
    machine.heart.beat()
    assert {(operation.state, operation.lost) for operation in all_operations(database)} == {("queued", 0)}


def test_what_is_claimed_while_the_heart_looks_is_not_asked_to_stop(
    database: Database, settings: Settings, fleet: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(database, settings)

    def look_meanwhile(*_: object, **__: object) -> frozenset[int]:
        machine.take()
        return frozenset()

    monkeypatch.setattr(attempts, "outranked", look_meanwhile)
    machine.heart.beat()
    assert list(machine.heart.lease.held.values()) == [False] * len(fleet)


def test_the_oldest_worker_of_each_zone_is_the_first_and_another_takes_over(
    database: Database, settings: Settings
) -> None:
    north = settings.model_copy(update={"zones": ("north",)})
    machines = [Machine(database, settings), Machine(database, settings), Machine(database, north)]
    for machine in machines:
        machine.heart.beat()
    assert [machine.heart.lease.is_first for machine in machines] == [True, False, True]
    with database.write() as session:
        workers.stop(session, machines[0].id, now=NOON)
    machines[1].heart.beat()
    assert machines[1].heart.lease.is_first


@pytest.mark.parametrize(
    ("result", "first_pause_s"),
    [(AWAY, CONTACT_PAUSE_S[0]), (AttemptResult(Outcome.FAILED), FAILURE_PAUSE_S[0])],
    ids=["contact", "backoff"],
)
def test_a_clock_that_was_set_back_leaves_no_more_than_a_first_pause(
    database: Database, settings: Settings, fleet: list[int], result: AttemptResult, first_pause_s: float
) -> None:
    machine = Machine(database, settings)
    for item in machine.take():
        settle_attempt(database, item.attempt.id or 0, result, worker_id=machine.id, now=machine.clock.now())
    assert machine.take() == []
    machine.hands.set_wall(-timedelta(days=30))
    machine.clock.read()
    assert reaper.clip_pauses(database, machine.clock) == len(fleet)
    machine.hands.run(first_pause_s + 1)
    assert len(machine.take()) == len(fleet)


def test_a_clock_that_was_set_forward_expires_nothing_until_it_has_been_calm(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    machine = Machine(database, settings)
    machine.clock.read()
    machine.hands.run(3600)
    machine.hands.set_wall(timedelta(days=2))
    assert machine.clock.read() == timedelta(days=2)
    assert reaper.expire(database, machine.clock) == 0
    machine.hands.set_wall(-timedelta(days=2))
    machine.clock.read()
    machine.hands.run(3600)
    assert reaper.expire(database, machine.clock) == 0, "the deadline is tomorrow"
    machine.hands.run(86400)
    assert reaper.expire(database, machine.clock) == len(fleet)


def test_on_postgresql_the_time_of_day_is_the_servers(database: Database, settings: Settings) -> None:
    machine = Machine(database, settings, Hands(NOON - timedelta(days=900)))
    machine.heart.beat()
    away = abs((machine.clock.now() - (NOON - timedelta(days=900))).total_seconds())
    assert (away > 86400) == (database.dialect == "postgresql")
    assert machine.clock.jumps == 0


def test_this_process_is_a_worker_that_lives() -> None:
    worker = new_worker(("b", "a"))
    assert (worker.pid, worker.pid_namespace, worker.zones) == (os.getpid(), pid_namespace(), "a,b")


def test_what_is_read_every_two_seconds_reads_what_is_under_way_and_no_history(
    database: Database, settings: Settings, fleet: list[int]
) -> None:
    Machine(database, settings).take()
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        statements.append((statement, values))

    with database.write() as session:
        event.listen(database.engine, "before_cursor_execute", note)
        assert attempts.abandoned(session) == []
        attempts.held(session, "nobody")
        event.remove(database.engine, "before_cursor_execute", note)
        session.connection().exec_driver_sql("UPDATE worker SET stopped_at = heartbeat_at")
        assert len(attempts.abandoned(session)) == len(fleet)
        if database.dialect == "sqlite":
            for statement, values in statements:
                steps = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                reads = [step[3] for step in steps if " attempt" in step[3]]
                assert all("attempt_held" in step for step in reads), reads
