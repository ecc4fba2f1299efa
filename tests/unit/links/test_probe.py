from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.links.probe import Prober, ProbeVerdict, probe_many, tcp_banner
from edgemgr.links.probe_verdict import read_error, read_greeting


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


@contextmanager
def _full_listener() -> Iterator[int]:
    """Its queue of connections is full: the kernel drops what else comes, as a black hole does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", ProbeVerdict.REACHABLE),
        (b"Welcome\r\nSSH-2.0-x\r\n", ProbeVerdict.REACHABLE),
        (b"Exceeded MaxStartups\r\n", ProbeVerdict.BUSY),
        (b"Not allowed at this time\r\n", ProbeVerdict.BUSY),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProbeVerdict.NOT_SSH),
        (b"", ProbeVerdict.NOT_SSH),
        (b"x" * 50_000, ProbeVerdict.NOT_SSH),
        (b"hello\n" * 100, ProbeVerdict.NOT_SSH),
    ],
)
def test_the_first_lines_tell_what_listens(answer: bytes, verdict: ProbeVerdict) -> None:
    with _server(answer) as port:
        assert tcp_banner("127.0.0.1", port, 2).verdict == verdict


def test_a_listener_that_never_speaks_is_silent_and_no_black_hole() -> None:
    with _server(None) as port:
        seen = tcp_banner("127.0.0.1", port, 0.2)
    assert seen.verdict == ProbeVerdict.SILENT
    assert seen.detail == "it accepts connections, then nothing came within 0.2 s"
    assert 0.15 < seen.elapsed_s < 2


def test_a_host_that_never_takes_the_connection_gives_no_answer() -> None:
    with _full_listener() as port:
        seen = tcp_banner("127.0.0.1", port, 0.2)
    assert (seen.verdict, seen.detail) == (ProbeVerdict.NO_ANSWER, "nothing came within 0.2 s")


def test_what_the_network_says_of_a_way_that_is_not_there_is_passed_on() -> None:
    assert read_error(errno.EHOSTUNREACH) == (ProbeVerdict.UNREACHABLE, "no route to host")
    assert read_error(errno.ENETUNREACH) == (ProbeVerdict.UNREACHABLE, "network is unreachable")


def test_a_machine_out_of_file_descriptors_blames_no_site() -> None:
    assert read_error(errno.EMFILE)[0] is ProbeVerdict.NOT_TRIED


def test_a_closed_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert tcp_banner("127.0.0.1", port, 2).verdict == ProbeVerdict.REFUSED


@pytest.mark.parametrize("address", ["a" * 300, "no such name", "\udcff"])
def test_a_name_that_cannot_be_one_is_unknown(address: str) -> None:
    assert tcp_banner(address, 22, 2).verdict == ProbeVerdict.NAME_UNKNOWN


def test_a_name_is_resolved_and_every_address_of_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(socket.AF_INET, 0, 0, "", ("127.9.9.9", 0)), (socket.AF_INET, 0, 0, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: places)
    with _server(b"SSH-2.0-x\r\n") as port:
        assert tcp_banner("two-addresses", port, 2).verdict == ProbeVerdict.REACHABLE


def test_a_name_service_that_hangs_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: hung.wait(5) and [])
    seen: list[str] = []
    with _server(b"SSH-2.0-x\r\n") as port:
        targets = [("hangs", "some-name", 22), ("up", "127.0.0.1", port)]
        found = probe_many(targets, 0.3, on_result=lambda key, _probe: seen.append(key))
    hung.set()
    assert seen == ["up", "hangs"]
    assert found["hangs"].detail == "the name some-name was not resolved in time"


def test_many_are_looked_at_at_once_and_each_has_its_verdict() -> None:
    with _server(None) as silent, _server(b"SSH-2.0-x\r\n", connections=20) as port:
        targets = [(f"up-{n}", "127.0.0.1", port) for n in range(20)]
        targets += [(f"silent-{n}", "127.0.0.1", silent) for n in range(20)]
        seen = probe_many(targets, 0.3, limit=50)
    assert sum(probe.verdict == ProbeVerdict.REACHABLE for probe in seen.values()) == 20
    assert sum(probe.verdict == ProbeVerdict.SILENT for probe in seen.values()) == 20
    assert max(probe.elapsed_s for probe in seen.values()) < 3


def test_nothing_to_look_at_is_nothing_found() -> None:
    assert probe_many([], 1) == {}


def test_results_are_handed_out_as_they_come_the_quick_ones_first() -> None:
    order: list[str] = []
    with _server(None) as silent, _server(b"SSH-2.0-x\r\n") as port:
        targets = [("silent", "127.0.0.1", silent), ("up", "127.0.0.1", port)]
        probe_many(targets, 0.3, on_result=lambda key, _probe: order.append(key))
    assert order == ["up", "silent"]


def test_no_more_than_the_limit_are_under_way_and_the_rest_follow() -> None:
    with _server(None) as silent, closing(Prober[int](0.2, limit=16)) as prober:
        for number in range(40):
            prober.add(number, "127.0.0.1", silent)
        assert len(prober) == 40
        ended: list[int] = []
        sizes = []
        while len(prober):
            came = prober.poll(1.0)
            sizes.append(len(came))
            ended += [key for key, _ in came]
    assert sorted(ended) == list(range(40))
    assert max(sizes) <= 16


@given(st.binary(max_size=300), st.booleans())
def test_whatever_a_host_sends_is_told_or_more_is_awaited(received: bytes, is_closed: bool) -> None:
    found = read_greeting(received, is_closed=is_closed)
    assert found is not None or not is_closed
    assert (found is not None and found[0] is ProbeVerdict.REACHABLE) == any(
        line.startswith(b"SSH-") for line in received.split(b"\n")[:-1]
    )
