"""Connections that were made to look at a host key, kept for the login that follows; against a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from tests_support.appliance import until
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, running_sshd

from edgemgr.errors import SiteIdentityError
from edgemgr.links import opened as links_opened
from edgemgr.links.handshake import shake_hands
from edgemgr.links.host_keys import KEY_TYPES, fingerprint
from edgemgr.links.key_check import check_key
from edgemgr.links.opened import Opened
from edgemgr.links.probe import ProbeVerdict
from edgemgr.links.ssh import connect
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target

#: What is asked for where an ed25519 key is pinned, or a fingerprint.
TYPES = KEY_TYPES


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("site")) as running:
        yield running


def target(sshd: ThrowawaySshd, pin: str | None = None) -> Target:
    return Target(1, "site-1", "127.0.0.1", sshd.port, "root", pin or sshd.host_keys[0], password=Secret(PASSWORD))


def connections(sshd: ThrowawaySshd) -> int:
    return sum("Connection from 127.0.0.1" in line for line in sshd.log().splitlines())


def shown(sshd: ThrowawaySshd) -> paramiko.Transport:
    return shake_hands("127.0.0.1", sshd.port, jump=None, key_types=TYPES, timeout_s=10)


def test_a_login_goes_on_with_the_connection_that_proved_the_key_and_the_next_makes_its_own(
    sshd: ThrowawaySshd,
) -> None:
    connect(target(sshd)).close()  # then whoever asked whether it listens is in its log too
    before = connections(sshd)
    assert check_key("127.0.0.1", sshd.port, sshd.host_keys[0], timeout_s=10).verdict is ProbeVerdict.REACHABLE
    for expected in (1, 2):
        with connect(target(sshd)) as connection:
            assert connection.run("echo hello").stdout == "hello\n"
        assert connections(sshd) - before == expected


def test_a_pin_that_was_changed_meanwhile_is_what_the_login_goes_by(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    check_key("127.0.0.1", sshd.port, sshd.host_keys[0], timeout_s=10)
    kind, blob = sshd.host_keys[0].split()
    logins = len(sshd.logins())
    with pytest.raises(SiteIdentityError):
        connect(target(sshd, f"{kind} {blob[:-4]}AAAA"))
    assert len(sshd.logins()) == logins


def test_a_fingerprint_is_proven_by_the_same_connection(sshd: ThrowawaySshd) -> None:
    pin = fingerprint(sshd.host_keys[0])
    before = connections(sshd)
    assert check_key("127.0.0.1", sshd.port, pin, timeout_s=10).verdict is ProbeVerdict.REACHABLE
    connect(target(sshd, pin)).close()
    assert connections(sshd) - before == 1


def test_one_that_nobody_takes_is_closed_after_a_while(sshd: ThrowawaySshd) -> None:
    transport = shown(sshd)
    kept = Opened(keep_s=0.1)
    kept.keep("127.0.0.1", sshd.port, TYPES, transport)
    until("it is closed", lambda: not transport.is_active(), 10)
    assert kept.take("127.0.0.1", sshd.port, TYPES) is None


def test_one_is_taken_once_and_is_not_closed_behind_the_back_of_who_took_it(sshd: ThrowawaySshd) -> None:
    first, second = shown(sshd), shown(sshd)
    kept = Opened(keep_s=0.1)
    kept.keep("127.0.0.1", sshd.port, TYPES, first)
    assert kept.take("127.0.0.1", sshd.port, TYPES) is first
    assert kept.take("127.0.0.1", sshd.port, TYPES) is None
    kept.keep("127.0.0.1", sshd.port, TYPES, second)
    until("the times of both are over", lambda: not second.is_active(), 10)
    assert first.is_active()
    first.close()


def test_one_that_was_asked_for_another_key_or_has_ended_is_not_given(sshd: ThrowawaySshd) -> None:
    transport = shown(sshd)
    kept = Opened()
    kept.keep("127.0.0.1", sshd.port, TYPES, transport)
    assert kept.take("127.0.0.1", sshd.port, TYPES[::-1]) is None
    transport.close()
    assert kept.take("127.0.0.1", sshd.port, TYPES) is None


def test_there_is_one_for_each_host_and_no_more_than_a_bounded_number(
    sshd: ThrowawaySshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_opened, "KEEP_MOST", 1)
    kept = Opened()
    first, second, third = shown(sshd), shown(sshd), shown(sshd)
    kept.keep("127.0.0.1", sshd.port, TYPES, first)
    kept.keep("127.0.0.1", sshd.port, TYPES, second)
    kept.keep("127.0.0.2", sshd.port, TYPES, third)
    assert [each.is_active() for each in (first, second, third)] == [False, True, False]
    assert kept.take("127.0.0.1", sshd.port, TYPES) is second
    second.close()
