"""Transfers in the queue: a lane of their own, giving way, and waiting for a window; without a byte being sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from sqlmodel import select
from tests_support.machine import Machine
from tests_support.queue_requests import NOW, add_sites, ask, every_operation, set_limit, take

from edgemgr.errors import StoreError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import Operation, OperationKind, OperationState, Priority
from edgemgr.model.timestamp import utc_now
from edgemgr.model.transfer_scope import TransferScope
from edgemgr.queue import traffic as traffic_module
from edgemgr.queue import worker as worker_module
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.fault import result_of
from edgemgr.queue.retry import Spent, decide
from edgemgr.queue.staging import GAVE_WAY
from edgemgr.queue.traffic import traffic_of
from edgemgr.queue.worker import MAX_BATCHES, QueueWorker
from edgemgr.settings import Settings
from edgemgr.store import contacts, stages, transfer_rules
from edgemgr.store.claim import Claimed, anything_ready, claim
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

STAGE = OperationKind.STAGE


def ask_stage(database: Database, sites: list[int]) -> None:
    ask(database, sites, STAGE, priority=Priority.TRANSFER)


def take_transfers(database: Database, worker: str = "w1", limit: int = 50) -> list[Claimed]:
    with database.write() as session:
        return claim(
            session,
            worker_id=worker,
            zones=(),
            batch="t",
            limit=limit,
            max_running=1000,
            transfers=True,
            now=NOW,
        )


def ready(database: Database, *, transfers: bool) -> bool:
    with database.read() as session:
        return anything_ready(session, NOW, transfers=transfers)


def test_each_lane_takes_its_own_kinds_alone(database: Database) -> None:
    sites = add_sites(database, 3)
    ask_stage(database, sites[:2])
    assert (ready(database, transfers=False), ready(database, transfers=True)) == (False, True)
    ask(database, sites[2:])
    assert {item.operation.kind for item in take(database)} == {"verify"}
    assert [item.operation.kind for item in take_transfers(database)] == ["stage", "stage"]
    assert not ready(database, transfers=True)


def test_a_transfer_takes_no_room_from_what_operators_wait_for_but_begins_only_within_the_limits(
    database: Database,
) -> None:
    sites = add_sites(database, 4, {"vpn": "lte-7"})
    set_limit(database, "label:vpn", 2)
    ask_stage(database, sites[:2])
    assert len(take_transfers(database)) == 2
    ask(database, sites[2:])
    assert len(take(database)) == 2, "days of sending must not close a link for everything else"


def test_what_runs_already_leaves_a_transfer_no_room(database: Database) -> None:
    sites = add_sites(database, 4, {"vpn": "lte-7"})
    set_limit(database, "label:vpn", 2)
    ask(database, sites[:2])
    assert len(take(database)) == 2
    ask_stage(database, sites[2:])
    assert take_transfers(database) == []


@pytest.mark.parametrize(
    ("kind", "priority", "waiting_for", "yields"),
    [
        (OperationKind.VERIFY, Priority.INTERACTIVE, "turn", True),
        (OperationKind.PROBE, Priority.BACKGROUND, "turn", True),
        (OperationKind.VERIFY, Priority.INTERACTIVE, "resume", False),
        (OperationKind.VERIFY, Priority.INTERACTIVE, "backoff", False),
        (OperationKind.VERIFY, Priority.TRANSFER, "turn", False),
    ],
)
def test_a_transfer_gives_way_to_what_could_begin_at_its_site(
    database: Database, settings: Settings, *, kind: OperationKind, priority: int, waiting_for: str, yields: bool
) -> None:
    machine = Machine(database, settings)
    site, other = add_sites(database, 2)
    ask_stage(database, [site, other])
    claimed = {item.operation.site_id: item.attempt.id or 0 for item in take_transfers(database, machine.id)}
    lease = machine.heart.lease
    lease.held.update(dict.fromkeys(claimed.values(), False))
    machine.heart.beat()
    assert lease.giving_way == frozenset()
    ask(database, [site], kind, priority=priority)
    with database.write() as session:
        urgent = session.exec(select(Operation).where(Operation.kind == kind.value)).one()
        urgent.waiting_for, urgent.not_before = waiting_for, machine.clock.now() + timedelta(minutes=5)
    machine.heart.beat()
    assert lease.giving_way == (frozenset({claimed[site]}) if yields else frozenset())


def test_what_gave_way_costs_nothing_and_goes_on_behind_the_other(database: Database, settings: Settings) -> None:
    machine = Machine(database, settings)
    (site,) = add_sites(database, 1)
    for _ in range(5):
        ask_stage(database, [site]) if not every_operation(database) else None
        (item,) = take_transfers(database, machine.id)
        machine.heart.lease.held[item.attempt.id or 0] = False
        ask(database, [site])
        machine.results.store(machine.heart.lease, item.attempt.id or 0, GAVE_WAY)
        assert take_transfers(database, machine.id) == [], "it is not its turn"
        (urgent,) = machine.take()
        machine.results.store(machine.heart.lease, urgent.attempt.id or 0, AttemptResult(Outcome.SUCCEEDED))
    stage = next(operation for operation in every_operation(database) if operation.kind == "stage")
    assert (stage.state, stage.code, stage.spent, stage.lost, stage.attempts) == ("queued", "E-OP-GAVE-WAY", 0, 0, 5)


def test_a_site_that_is_being_sent_bytes_is_still_looked_at_but_not_twice(database: Database) -> None:
    (site,) = add_sites(database, 1)
    ask_stage(database, [site])
    take_transfers(database)
    with database.write() as session:
        session.add(
            Cluster(
                site_id=site,
                reachability=Reachability.REACHABLE,
                observed_at=NOW - timedelta(hours=1),
                k3s_version="v1.33.5+k3s1",
            )
        )
    with database.read() as session:
        assert contacts.stale_sites(session, NOW, limit=10) == [site]
    ask(database, [site], OperationKind.PROBE, priority=Priority.BACKGROUND)
    with database.read() as session:
        assert contacts.stale_sites(session, NOW, limit=10) == []


def test_behind_a_closed_window_stages_wait_without_an_attempt_until_it_opens_or_is_changed(
    database: Database,
) -> None:
    sites = add_sites(database, 3)
    ask_stage(database, sites)
    opens_at = NOW + timedelta(hours=10)
    with database.write() as session:
        held = stages.hold_back(session, lambda parts: NOW if parts.name == "site-1" else opens_at, now=NOW)
    assert held == 2
    assert [item.site_name for item in take_transfers(database)] == ["site-1"]
    waiting = [operation for operation in every_operation(database) if operation.state == "queued"]
    assert {(op.waiting_for, op.not_before, op.attempts, op.code) for op in waiting} == {
        ("window", opens_at, 0, "E-STAGE-WINDOW")
    }
    with database.write() as session:
        transfer_rules.put_window(session, TransferScope.parse("all"), "00:00-24:00", "UTC", actor="test")
    assert len(take_transfers(database)) == 2


def test_a_window_that_opens_lets_them_go_on(database: Database) -> None:
    sites = add_sites(database, 1)
    ask_stage(database, sites)
    with database.write() as session:
        stages.hold_back(session, lambda _parts: NOW + timedelta(hours=1), now=NOW)
    assert not ready(database, transfers=True)
    with database.write() as session:
        late = NOW + timedelta(hours=2)
        found = claim(session, worker_id="w", zones=(), batch="t", limit=9, max_running=9, transfers=True, now=late)
    assert len(found) == 1


class SlowCarrier:
    """Stands for a carrier; each ends when the test says so."""

    running: dict[str, tuple[Claimed, threading.Event]] = {}  # noqa: RUF012 - emptied by the fixture

    def __init__(self, _database: Any, _vault: Any, _settings: Any, claimed: list[Claimed], **told: Any) -> None:
        self.open_sites = len(claimed)
        self._claimed, self._settle = claimed, told["settle"]
        self._done = threading.Event()
        for item in claimed:
            self.running[item.site_name] = item, self._done

    def carry(self, _name: str) -> None:
        self._done.wait(30)
        for item in self._claimed:
            self._settle(item.attempt.id or 0, AttemptResult(Outcome.SUCCEEDED))


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Claimed, threading.Event]]:
    monkeypatch.setattr(worker_module, "Carrier", SlowCarrier)
    SlowCarrier.running.clear()
    return SlowCarrier.running


@pytest.fixture
def make_worker(
    database: Database, settings: Settings, carried: dict[str, tuple[Claimed, threading.Event]]
) -> Iterator[Callable[..., QueueWorker]]:
    made: list[QueueWorker] = []

    def make(clock: Callable[[], datetime] = utc_now, **changes: Any) -> QueueWorker:
        changed = settings.model_copy(update=changes)
        steady = MappingProxyType({"now": 1000.0})
        worker = QueueWorker(
            database, Vault(bytes(32)), changed, threading.Event(), QueueClock(wall=clock, steady=lambda: steady["now"])
        )
        worker._heart.register()
        made.append(worker)
        return worker

    yield make
    for _, done in carried.values():
        done.set()
    for worker in made:  # what they still write must have come before the database is closed
        for thread in [*worker._transfers, *worker._batches]:
            thread.join(30)


def finish(worker: QueueWorker, carried: Mapping[str, tuple[Claimed, threading.Event]], site: str) -> None:
    carried[site][1].set()
    for thread, carrier in worker._transfers.items():
        if carried[site][0] in carrier._claimed:
            thread.join(30)


def test_transfers_are_refilled_one_by_one_and_never_stand_in_the_way_of_batches(
    database: Database, make_worker, carried
) -> None:
    worker = make_worker(transfers=3)
    sites = add_sites(database, 30)
    ask_stage(database, sites[:5])
    worker._turn()
    assert sorted(carried) == ["site-1", "site-2", "site-3"]
    assert all(len(carrier._claimed) == 1 for carrier in worker._transfers.values())
    worker._turn()
    assert len(carried) == 3, "the lane is full"
    ask(database, sites[5:])
    worker._turn()
    assert len(carried) == 3 + 25
    assert len(worker._batches) < MAX_BATCHES
    finish(worker, carried, "site-2")
    worker._turn()
    assert "site-4" in carried
    assert "site-5" not in carried


def test_a_worker_holds_stages_back_whose_window_is_closed(database: Database, make_worker, carried) -> None:
    friday_noon = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    with database.write() as session:
        transfer_rules.put_window(session, TransferScope.parse("all"), "22:00-06:00", "Europe/Berlin", actor="test")
        transfer_rules.put_window(session, TransferScope.parse("site:site-2"), "12:00-13:00", "UTC", actor="test")
    worker = make_worker(clock=lambda: friday_noon)
    sites = add_sites(database, 2)
    ask_stage(database, sites)
    worker._turn()
    assert list(carried) == ["site-2"]
    waiting = next(operation for operation in every_operation(database) if operation.state == "queued")
    assert (waiting.waiting_for, waiting.not_before) == ("window", friday_noon.replace(hour=21))


def test_a_rule_that_is_changed_holds_for_transfers_that_run_even_if_nothing_else_is_to_be_done(
    database: Database, make_worker, carried, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "REFRESH_S", 0.0)
    worker = make_worker()
    (site,) = add_sites(database, 1)
    ask_stage(database, [site])
    worker._turn()
    assert list(carried) == ["site-1"]
    with database.read() as session:
        traffic = traffic_of(database).of_site(stages.parts_of(session, site))
    friday_noon = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert traffic.is_open(friday_noon)
    with database.write() as session:
        transfer_rules.put_window(session, TransferScope.parse("all"), "22:00-06:00", "UTC", actor="test")
    worker._turn()
    assert traffic.opens_at(friday_noon) == friday_noon.replace(hour=22)


def test_a_database_that_is_away_when_an_attempt_begins_costs_the_operation_nothing() -> None:
    told = result_of(StoreError("the database cannot be used", code="E-STORE-UNAVAILABLE"))
    spent = Spent(attempts=9, max_attempts=10, lost=3, max_lost=3, unreached=0)
    decision = decide(told, spent, NOW, lambda low, _: low)
    assert (decision.state, decision.costs_attempt, decision.costs_loss) == (OperationState.QUEUED, False, False)
