"""The watch, over a real database and real sockets of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.operation import Operation, OperationKind, WaitingFor
from edgemgr.model.site import Site
from edgemgr.operations.submit import submit
from edgemgr.queue.settle import settle_attempt
from edgemgr.queue.watch import Watch, hold
from edgemgr.settings import Settings
from edgemgr.store.claim import claim
from edgemgr.store.database import Database

AWAY = AttemptResult(Outcome.UNREACHABLE, message="no answer")


class Greeter:
    """Something that greets like sshd, or listens and says nothing."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.greets = True
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"SSH-2.0-test\r\n" if self.greets else b"HTTP/1.1 400\r\n\r\n")


@pytest.fixture
def greeter() -> Iterator[Greeter]:
    greeter = Greeter()
    yield greeter
    greeter.socket.close()


@pytest.fixture
def owing(database: Database, greeter: Greeter) -> int:
    """A site whose only attempt did not reach it."""
    with database.write() as session:
        site = Site(name="site-1", address="127.0.0.1", port=greeter.port)
        session.add(site)
        session.flush()
        submit(session, OperationKind.VERIFY, {}, [site.id or 0], actor="test")
    with database.write() as session:
        (item,) = claim(session, worker_id="w", batch="b", limit=1, lease_s=30, now=datetime.now(UTC))
    settle_attempt(database, item.attempt.id or 0, AWAY, worker_id="w")
    return item.operation.site_id


def waits_for(database: Database) -> str:
    with database.read() as session:
        return session.get_one(Operation, 1).waiting_for


def test_a_site_that_was_silent_and_answers_is_woken_at_once(
    database: Database, greeter: Greeter, owing: int, settings: Settings
) -> None:
    watch = Watch(database, settings)
    now = datetime.now(UTC)
    greeter.greets = False
    assert watch.round(now) == 0
    with database.read() as session:
        assert session.get_one(Cluster, owing).reachability == Reachability.UNREACHABLE.value
    greeter.greets = True
    assert watch.round(now + timedelta(seconds=settings.probe_interval_s + 1)) == 1
    assert waits_for(database) == WaitingFor.TURN.value


def test_a_site_that_is_not_due_is_not_tried(
    database: Database, greeter: Greeter, owing: int, settings: Settings
) -> None:
    watch = Watch(database, settings)
    now = datetime.now(UTC)
    greeter.greets = False
    watch.round(now)
    greeter.greets = True
    assert watch.round(now + timedelta(seconds=0.1)) == 0
    assert waits_for(database) == WaitingFor.CONTACT.value


def test_a_host_that_greets_but_fails_every_attempt_is_not_tried_in_a_tight_loop(
    database: Database, owing: int, settings: Settings
) -> None:
    watch = Watch(database, settings)
    now = datetime.now(UTC)
    assert watch.round(now) == 0
    assert waits_for(database) == WaitingFor.CONTACT.value


def test_the_pause_before_such_a_host_is_tried_again_grows_to_minutes_and_no_further() -> None:
    pauses = [hold(n).total_seconds() for n in (1, 2, 5, 8, 20, 10_000)]
    assert pauses == [2, 4, 32, 256, 300, 300]


def test_what_was_observed_long_ago_is_looked_at_again_once(
    database: Database, greeter: Greeter, settings: Settings
) -> None:
    now = datetime.now(UTC)
    with database.write() as session:
        site = Site(name="site-1", address="127.0.0.1", port=greeter.port)
        session.add(site)
        session.flush()
        long_ago = now - timedelta(seconds=settings.health_interval_s + 1)
        session.add(
            Cluster(site_id=site.id or 0, reachability="reachable", observed_at=long_ago, k3s_version="v1.33.5+k3s1")
        )
    watch = Watch(database, settings)
    assert watch.refresh(now) == 1
    assert watch.refresh(now) == 0
