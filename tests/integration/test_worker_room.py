"""A worker that cannot write claims nothing, keeps what it found out, and goes on by itself."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select
from tests_support.appliance import until
from tests_support.machine import FillableDatabase, Machine

from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.operation import Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.submit import submit
from edgemgr.queue.room import ROOM_BYTES, no_room
from edgemgr.queue.worker import QueueWorker
from edgemgr.settings import Settings
from edgemgr.store import schema
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


@pytest.fixture
def local(settings: Settings) -> Iterator[FillableDatabase]:
    """A database on this machine with one site, which answers nobody, and something to do there."""
    for directory in (settings.state_dir, settings.log_dir, settings.runtime_dir):
        directory.mkdir()
    database = FillableDatabase(settings.url)
    schema.upgrade(database)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with database.write() as session:
        site = Site(name="site-1", address="127.0.0.1", port=port)
        session.add(site)
        session.flush()
        submit(session, OperationKind.VERIFY, {}, [site.id or 0], actor="test")
    yield database
    database.close()


@pytest.fixture
def worker(local: FillableDatabase, settings: Settings) -> Iterator[QueueWorker]:
    stop = threading.Event()
    worker = QueueWorker(local, Vault.open(settings.state_dir / "secret.key"), settings, stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    stop.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture(params=["runtime_dir", "log_dir"])
def small_disk(request: pytest.FixtureRequest, local: Database, settings: Settings) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root: `make test` uses sudo")
    place: Path = getattr(settings, request.param)
    size = ROOM_BYTES // 2
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True, timeout=30)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


def attempts_made(database: Database) -> int:
    with database.read() as session:
        return len(session.exec(select(Attempt.id)).all())


def test_a_worker_without_room_begins_nothing_says_so_and_goes_on_when_there_is_room(
    small_disk: Path,
    local: FillableDatabase,
    settings: Settings,
    worker: QueueWorker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault = no_room(settings)
    assert fault is not None
    assert str(small_disk) in fault.message
    until("it says why it does nothing", lambda: str(small_disk) in caplog.text and "E-STORE-FULL" in caplog.text, 20)
    assert attempts_made(local) == 0
    subprocess.run(["mount", "-o", f"remount,size={4 * ROOM_BYTES}", str(small_disk)], check=True, timeout=30)
    until("it goes on", lambda: attempts_made(local), 20)


def test_a_result_that_cannot_be_stored_is_kept_until_it_can(local: FillableDatabase, settings: Settings) -> None:
    machine = Machine(local, settings)
    (item,) = machine.take()
    local.is_full = True
    machine.results.store(machine.heart.lease, item.attempt.id or 0, AttemptResult(Outcome.SUCCEEDED))
    for _ in range(3):
        machine.results.turn()
    assert len(machine.results) == 1
    local.is_full = False
    machine.results.turn()
    with local.read() as session:
        assert session.exec(select(Operation.state)).one() == "succeeded"
    assert len(machine.results) == 0


def test_a_result_that_comes_after_the_lease_was_lost_is_let_go(local: FillableDatabase, settings: Settings) -> None:
    machine, other = Machine(local, settings), Machine(local, settings)
    (item,) = machine.take()
    local.is_full = True
    machine.results.store(machine.heart.lease, item.attempt.id or 0, AttemptResult(Outcome.SUCCEEDED))
    local.is_full = False
    machine.lose_process()
    other.heart.beat()
    machine.results.turn()
    assert len(machine.results) == 0
    with local.read() as session:
        assert session.exec(select(Operation.state)).one() == "queued"


def test_what_a_stopped_worker_let_go_of_costs_nothing(local: FillableDatabase, settings: Settings) -> None:
    machine = Machine(local, settings)
    (item,) = machine.take()
    machine.results.store(machine.heart.lease, item.attempt.id or 0, AttemptResult(Outcome.CANCELED))
    with local.read() as session:
        operation = session.exec(select(Operation)).one()
    assert (operation.state, operation.lost, operation.code) == ("queued", 0, "E-OP-RELEASED")
