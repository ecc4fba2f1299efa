"""How much one worker takes up at once, and who is served while its hands are full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from tests_support.appliance import until
from tests_support.queue_requests import add_sites, ask

from edgemgr.model.timestamp import utc_now
from edgemgr.queue import worker as worker_module
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.slots import PROCESS, slots_of
from edgemgr.queue.worker import MAX_BATCHES, MAX_BUSY, NEWCOMERS, QueueWorker
from edgemgr.settings import Settings
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

MakeWorker = Callable[..., QueueWorker]


class LongCarrier:
    """Stands for a carrier whose sites take for ever; what it was given is what the test looks at."""

    release = threading.Event()
    batches: ClassVar[list[list[Claimed]]] = []
    made: ClassVar[list[LongCarrier]] = []

    def __init__(self, _database: Database, _vault: Any, _settings: Settings, claimed: list[Claimed], **_: Any) -> None:
        self.open_sites = len(claimed)
        self.batches.append(list(claimed))
        self.made.append(self)

    def carry(self, _name: str) -> None:
        self.release.wait(30)


class Steady:
    """A clock that the test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[list[Claimed]]:
    monkeypatch.setattr(worker_module, "Carrier", LongCarrier)
    LongCarrier.release.clear()
    LongCarrier.batches.clear()
    LongCarrier.made.clear()
    return LongCarrier.batches


@pytest.fixture
def make_worker(database: Database, carried: list[list[Claimed]]) -> Iterator[MakeWorker]:
    """A registered worker; its batches are ended behind the test."""
    made: list[QueueWorker] = []

    def make(settings: Settings, steady: Callable[[], float] = time.monotonic) -> QueueWorker:
        clock = QueueClock(wall=utc_now, steady=steady)
        worker = QueueWorker(database, Vault(bytes(32)), settings, threading.Event(), clock)
        worker._heart.register()
        made.append(worker)
        return worker

    yield make
    LongCarrier.release.set()
    for worker in made:
        for thread in list(worker._batches):
            thread.join(30)


def test_who_asks_for_one_site_need_not_wait_until_hundreds_of_others_are_done(
    database: Database, settings: Settings, carried: list[list[Claimed]], make_worker: MakeWorker
) -> None:
    steady = Steady()
    settings = settings.model_copy(update={"batch_size": 20})
    worker = make_worker(settings, steady)
    sites = add_sites(database, 20 * MAX_BUSY + 30)
    ask(database, sites[:-1], request="large")
    worker._turn()
    assert [len(batch) for batch in carried] == [20] * MAX_BUSY, "its hands are full"
    ask(database, sites[-1:], request="small")
    worker._turn()
    assert len(carried) == MAX_BUSY, "it has just found nothing to begin, and rests"
    steady.now_s += worker_module.HELD_BACK_S
    worker._turn()
    assert [item.operation.request for batch in carried[MAX_BUSY:] for item in batch] == ["small"]
    assert len(carried[MAX_BUSY]) <= NEWCOMERS


def test_the_next_batch_is_begun_before_the_others_have_ended(
    database: Database, settings: Settings, carried: list[list[Claimed]], make_worker: MakeWorker
) -> None:
    settings = settings.model_copy(update={"batch_size": 20})
    worker = make_worker(settings)
    ask(database, add_sites(database, 20 * MAX_BUSY + 10), request="large")
    worker._turn()
    assert [len(batch) for batch in carried] == [20] * MAX_BUSY
    for left, batches in ((10, MAX_BUSY), (9, MAX_BUSY + 1)):
        for carrier in LongCarrier.made:
            carrier.open_sites = left
        worker._held_back_until = 0.0
        worker._turn()
        assert len(carried) == batches, f"{left} sites of each are left"


def test_batches_that_linger_stop_the_next_but_not_who_is_new(
    database: Database, settings: Settings, carried: list[list[Claimed]], make_worker: MakeWorker
) -> None:
    settings = settings.model_copy(update={"batch_size": 1})
    worker = make_worker(settings)
    sites = add_sites(database, MAX_BATCHES + 2)
    ask(database, sites[:-1], request="large")
    worker._turn()
    assert len(carried) == MAX_BATCHES, "each has one site left, which may take an hour"
    ask(database, sites[-1:], request="small")
    worker._held_back_until = 0.0
    worker._turn()
    assert [item.operation.request for batch in carried[MAX_BATCHES:] for item in batch] == ["small"]


def test_sites_that_come_back_while_others_are_at_work_gather_and_who_is_new_does_not_wait(
    database: Database, settings: Settings, carried: list[list[Claimed]], make_worker: MakeWorker
) -> None:
    steady = Steady()
    worker = make_worker(settings, steady)
    sites = add_sites(database, 5)
    slots = slots_of(settings.forks)
    forks = slots.take(lambda: settings.forks, lambda: False)  # a process is at work, on sites of somebody else
    try:
        for site in sites[:3]:
            ask(database, [site], request="all")
            worker._turn()
        assert [len(batch) for batch in carried] == [1], "the first one, and then they gather"
        ask(database, sites[3:4], request="new")
        steady.now_s += worker_module.HELD_BACK_S
        worker._turn()
        assert [item.operation.request for item in carried[1]] == ["new"]
        steady.now_s += worker_module.GATHER_S
        worker._heart.beat()
        worker._turn()
        assert [item.operation.request for item in carried[2]] == ["all"] * 2
        ask(database, sites[4:], request="all")
    finally:
        slots.give_back(forks + PROCESS)
    worker._turn()
    assert len(carried[3]) == 1, "nothing is at work any more: at once"


def test_a_site_that_the_watch_has_found_does_not_wait_for_the_workers_next_look(
    database: Database,
    settings: Settings,
    carried: list[list[Claimed]],
    make_worker: MakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "POLL_S", 60.0)
    worker = make_worker(settings)
    site_ids = add_sites(database, 1)
    looked = threading.Event()
    turn = worker._turn
    monkeypatch.setattr(worker, "_turn", lambda: (turn(), looked.set()))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert looked.wait(30)
        assert not carried
        ask(database, site_ids, request="one")
        worker._woke.set()
        until("it is carried", lambda: bool(carried), 30)
    finally:
        LongCarrier.release.set()
        worker.stop.set()
        for _ in range(300):
            worker._woke.set()
            thread.join(0.1)
            if not thread.is_alive():
                break
    assert not thread.is_alive()
