"""The watch with a real sshd, real sockets and time as it passes: what plays in test_watch.py is real here."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select
from tests_support.throwaway_sshd import make_key, running_sshd

from edgemgr.errors import SiteLoginError
from edgemgr.links.host_keys import fingerprint
from edgemgr.links.key_check import check_key
from edgemgr.links.probe import ProbeVerdict
from edgemgr.links.ssh import connect
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import Operation, OperationKind, OperationState, WaitingFor
from edgemgr.model.secret import Secret
from edgemgr.model.site import Site, Trust
from edgemgr.model.target import Target
from edgemgr.operations.submit import submit
from edgemgr.queue.fault import result_of
from edgemgr.queue.settle import settle_attempt
from edgemgr.queue.watch import Watch
from edgemgr.runner.ssh_faults import when_unreachable
from edgemgr.settings import Settings
from edgemgr.store.claim import claim
from edgemgr.store.database import Database


@contextmanager
def _greets_and_hangs() -> Iterator[int]:
    """It greets like sshd and then says nothing more."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    client.sendall(b"SSH-2.0-hangs\r\n")
                    held.append(client)

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1]
    for client in held:
        client.close()


def test_the_pinned_key_another_key_and_a_key_exchange_that_hangs_are_told_apart(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "site") as sshd:
        right = check_key("127.0.0.1", sshd.port, sshd.host_keys[0], timeout_s=5)
        by_fingerprint = check_key("127.0.0.1", sshd.port, fingerprint(sshd.host_keys[0]), timeout_s=5)
        wrong = check_key("127.0.0.1", sshd.port, make_key(tmp_path / "other"), timeout_s=5)
        assert sshd.logins() == []
    assert (right.verdict, by_fingerprint.verdict) == (ProbeVerdict.REACHABLE, ProbeVerdict.REACHABLE)
    assert (wrong.verdict, wrong.shown) == (ProbeVerdict.OTHER_KEY, sshd.host_keys[0])
    assert wrong.detail == f"shows another host key: {fingerprint(sshd.host_keys[0])}"
    with _greets_and_hangs() as port:
        hanging = check_key("127.0.0.1", port, sshd.host_keys[0], timeout_s=0.5)
    assert (hanging.verdict, hanging.code) == (ProbeVerdict.SILENT, "E-SITE-TURNED-AWAY")


def _owe(database: Database, *sites: Site) -> None:
    with database.write() as session:
        session.add_all(sites)
        session.flush()
        submit(session, OperationKind.VERIFY, {}, [site.id or 0 for site in sites], actor="test")
    with database.write() as session:
        now = datetime.now(UTC)
        items = claim(session, worker_id="w", zones=(), batch="b", limit=200, max_running=200, now=now)
    for item in items:
        away = AttemptResult(Outcome.UNREACHABLE, code="E-SITE-NO-ANSWER", message="no answer")
        settle_attempt(database, item.attempt.id or 0, away, worker_id="w")


def _until(watch: Watch, condition: Callable[[], bool], *, within_s: float) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "it did not come about in time"
        watch.round()
        time.sleep(0.05)
    return time.monotonic() - began


def _waiting(database: Database, name: str) -> tuple[str, str]:
    with database.read() as session:
        found = session.exec(select(Operation).join(Site).where(Site.name == name)).one()
        return found.waiting_for, found.code


def test_a_site_that_comes_back_among_dark_ones_is_woken_and_one_with_another_key_is_stopped(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    quick = settings.model_copy(update={"probe_interval_s": 0.2, "connect_timeout_s": 3.0})
    with socket.create_server(("127.0.0.1", 0)) as silent, running_sshd(tmp_path / "first") as sshd:
        pin = sshd.host_keys[0]
        dark = [Site(name=f"dark-{n}", address=f"127.0.9.{n}", port=silent.getsockname()[1]) for n in range(1, 50)]
        _owe(
            database,
            *dark,
            _pinned("back", sshd.port, pin),
            _pinned("swapped", sshd.port, make_key(tmp_path / "other")),
        )
    watch = Watch(database, quick)
    _until(watch, lambda: _waiting(database, "back")[1] == "E-SITE-REFUSED", within_s=10)
    with running_sshd(tmp_path / "first", port=sshd.port) as sshd:
        _until(watch, lambda: _waiting(database, "back")[0] == WaitingFor.TURN, within_s=10)
        _until(watch, lambda: _waiting(database, "swapped")[1] == "E-SITE-IDENTITY-MISMATCH", within_s=10)
        assert sshd.logins() == []
    assert _waiting(database, "swapped")[0] == WaitingFor.CONTACT
    with database.read() as session:
        assert session.exec(select(Site.trust).where(Site.name == "swapped")).one() == Trust.MISMATCH
        states = session.exec(select(Operation.state)).all()
    assert set(states) == {OperationState.QUEUED}


def test_a_login_that_fails_never_counts_as_a_site_that_is_away(database: Database, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with running_sshd(tmp_path / "site") as sshd:
        target = Target(
            site_id=1,
            name="site-1",
            address="127.0.0.1",
            port=sshd.port,
            user="root",
            host_key=sshd.host_keys[0],
            private_key=Secret((tmp_path / "key").read_text()),
        )
        with pytest.raises(SiteLoginError) as refused:
            connect(target, timeout_s=5)
    by_ansible = when_unreachable(
        "Failed to connect to the host via ssh: root@127.0.0.1: Permission denied (publickey).", "site-1"
    )
    for result in (result_of(refused.value), by_ansible):
        assert result.code == "E-LOGIN-KEY"
        assert result.outcome in (Outcome.REFUSED, Outcome.FAILED)
    with database.write() as session:
        session.add(Site(name="site-1", address="127.0.0.1"))
        session.flush()
        submit(session, OperationKind.VERIFY, {}, [1], actor="test")
    with database.write() as session:
        now = datetime.now(UTC)
        (item,) = claim(session, worker_id="w", zones=(), batch="b", limit=1, max_running=1, now=now)
    settle_attempt(database, item.attempt.id or 0, result_of(refused.value), worker_id="w")
    with database.read() as session:
        operation = session.exec(select(Operation)).one()
    assert (operation.state, operation.code, operation.unreached) == (OperationState.FAILED, "E-LOGIN-KEY", 0)


def _pinned(name: str, port: int, pin: str) -> Site:
    return Site(
        name=name,
        address="127.0.0.1",
        port=port,
        host_key=pin,
        host_key_fingerprint=fingerprint(pin),
        trust=Trust.PINNED.value,
    )
