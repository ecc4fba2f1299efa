from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgemgr.links.probe import ProbeVerdict, probe_many, tcp_banner


@contextmanager
def _server(answer: bytes | None, *, connections: int = 1) -> Iterator[int]:
    """Answers each connection with these bytes and closes it; with None it accepts in the kernel and stays silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(connections):
                client, _ = listener.accept()
                with client:
                    client.sendall(answer or b"")

        thread = threading.Thread(target=serve, daemon=True)
        if answer is not None:
            thread.start()
        yield listener.getsockname()[1]
        if answer is not None:
            thread.join(5)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", ProbeVerdict.REACHABLE),
        (b"Welcome\r\nSSH-2.0-x\r\n", ProbeVerdict.REACHABLE),
        (b"Exceeded MaxStartups\r\n", ProbeVerdict.REACHABLE),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProbeVerdict.NOT_SSH),
        (b"", ProbeVerdict.NOT_SSH),
        (b"x" * 50_000, ProbeVerdict.NOT_SSH),
        (b"hello\n" * 100, ProbeVerdict.NOT_SSH),
    ],
)
def test_the_first_lines_tell_what_listens(answer: bytes, verdict: ProbeVerdict) -> None:
    with _server(answer) as port:
        assert tcp_banner("127.0.0.1", port, 2).verdict == verdict


def test_a_listener_that_never_speaks_is_no_answer_in_time() -> None:
    with _server(None) as port:
        seen = tcp_banner("127.0.0.1", port, 0.2)
    assert seen.verdict == ProbeVerdict.NO_ANSWER
    assert 0.15 < seen.elapsed_s < 2


def test_a_closed_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert tcp_banner("127.0.0.1", port, 2).verdict == ProbeVerdict.REFUSED


@pytest.mark.parametrize("address", ["a" * 300, "no such name", "\udcff"])
def test_a_name_that_cannot_be_one_is_no_answer(address: str) -> None:
    assert tcp_banner(address, 22, 2).verdict == ProbeVerdict.NO_ANSWER


def test_many_are_looked_at_at_once_and_each_has_its_verdict() -> None:
    with _server(None) as silent, _server(b"SSH-2.0-x\r\n", connections=20) as port:
        targets = [(f"up-{n}", "127.0.0.1", port) for n in range(20)]
        targets += [(f"silent-{n}", "127.0.0.1", silent) for n in range(20)]
        seen = probe_many(targets, 0.3, limit=50)
    assert sum(probe.verdict == ProbeVerdict.REACHABLE for probe in seen.values()) == 20
    assert sum(probe.verdict == ProbeVerdict.NO_ANSWER for probe in seen.values()) == 20
    assert max(probe.elapsed_s for probe in seen.values()) < 3


def test_nothing_to_look_at_is_nothing_found() -> None:
    assert probe_many([], 1) == {}
