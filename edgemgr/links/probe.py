"""Probe: does anything that speaks SSH answer? One TCP connection and one line, for thousands of sites at once.

Cheap on both sides: no key exchange, no thread per site, and one event of the kernel (epoll(7)) per host that answers,
none for a host that does not. sshd counts a connection without a login as one second of penalty and acts from fifteen
on (PerSourcePenalties in sshd_config(5), OpenSSH 9.8): leave seconds between.
"""

from __future__ import annotations

import errno
import resource
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgemgr.links.names import Names, is_numeric
from edgemgr.links.probe_verdict import PREAMBLE_BYTES, Probe, ProbeVerdict, read_error, read_greeting

__all__ = ["Probe", "ProbeVerdict", "Prober", "probe_many", "tcp_banner"]

#: File descriptors that are left to everything else in this process.
_SPARE_FILES = 256
_LOOK_S = 0.5
Id = TypeVar("Id", bound=Hashable)


@dataclass
class _Try(Generic[Id]):
    """A probe under way."""

    key: Id
    address: str
    port: int
    began: float
    deadline: float
    ways: list[tuple[int, str]] = field(default_factory=list)  #: address family and address, those not tried yet
    connection: socket.socket | None = None
    received: bytes = b""


class Prober(Generic[Id]):
    """Probes under way, for the one thread that owns it: `add` begins one, `poll` gives those that have ended."""

    def __init__(self, timeout_s: float, limit: int = 500) -> None:
        """At most `limit` connections at the same time, fewer where the process may not open so many files."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = limit if allowed == resource.RLIM_INFINITY else max(16, min(limit, allowed - _SPARE_FILES))
        self._timeout_s = timeout_s
        self._epoll = select.epoll()
        self._names = Names()
        self._epoll.register(self._names.bell, select.EPOLLIN)
        self._waiting: deque[tuple[Id, str, int]] = deque()
        self._tries: dict[int, _Try[Id]] = {}  #: by number, in the order in which they end at the latest
        self._by_file: dict[int, int] = {}
        self._number = 0
        self._ended: list[tuple[Id, Probe]] = []

    def __len__(self) -> int:
        """How many have begun, or wait to begin, and were not given out."""
        return len(self._waiting) + len(self._tries) + len(self._ended)

    def add(self, key: Id, address: str, port: int) -> None:
        """Begin to look at an address, as soon as there is room."""
        self._waiting.append((key, address, port))
        self._fill()

    def poll(self, wait_s: float = 0.0) -> list[tuple[Id, Probe]]:
        """Give what has ended, at most once each; waits up to `wait_s` for the first."""
        wait_s = 0.0 if self._ended else min(wait_s, self._until_next())
        for file, _ in self._epoll.poll(wait_s):
            if file == self._names.bell:
                self._found_names()
            else:
                self._heard(file)
        now = time.monotonic()
        while self._tries:
            number, attempt = next(iter(self._tries.items()))
            if attempt.deadline > now:
                break
            self._gave_up(number, attempt)
        self._fill()
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Let go of every connection; what has not ended is forgotten."""
        for attempt in self._tries.values():
            if attempt.connection is not None:
                attempt.connection.close()
        self._tries.clear()
        self._by_file.clear()
        self._waiting.clear()
        self._names.close()
        self._epoll.close()

    def _until_next(self) -> float:
        first = next(iter(self._tries.values()), None)
        return _LOOK_S if first is None else max(0.0, first.deadline - time.monotonic())

    def _fill(self) -> None:
        while self._waiting and len(self._tries) < self._limit:
            key, address, port = self._waiting.popleft()
            self._number += 1
            began = time.monotonic()
            attempt = self._tries[self._number] = _Try(key, address, port, began, began + self._timeout_s)
            if family := is_numeric(address):
                attempt.ways = [(family, address)]
                self._connect(self._number, attempt)
            else:
                self._names.ask(self._number, address)

    def _found_names(self) -> None:
        for number, ways in self._names.answers():
            attempt = self._tries.get(number)
            if attempt is None:  # its time was up
                continue
            if ways:
                attempt.ways = ways
                self._connect(number, attempt)
            else:
                self._end(number, ProbeVerdict.NAME_UNKNOWN, f"the name {attempt.address} cannot be resolved")

    def _connect(self, number: int, attempt: _Try[Id]) -> None:
        """Begin a connection to the next of its addresses; the last error counts."""
        fault = errno.EADDRNOTAVAIL
        while attempt.ways:
            family, address = attempt.ways.pop(0)
            try:
                connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as exc:
                fault = exc.errno or fault
                break
            fault = connection.connect_ex((address, attempt.port))
            if fault in (0, errno.EINPROGRESS):
                attempt.connection, attempt.received = connection, b""
                self._by_file[connection.fileno()] = number
                self._epoll.register(connection.fileno(), select.EPOLLIN)
                return
            connection.close()
        self._end(number, *read_error(fault))

    def _heard(self, file: int) -> None:
        number = self._by_file[file]
        attempt = self._tries[number]
        assert attempt.connection is not None  # noqa: S101 - it is in the table of files
        try:
            piece = attempt.connection.recv(PREAMBLE_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            self._let_go(attempt)
            if attempt.ways:
                self._connect(number, attempt)
            else:
                self._end(number, *read_error(exc.errno or 0))
            return
        attempt.received += piece
        found = read_greeting(attempt.received, is_closed=not piece)
        if found is not None:
            self._end(number, *found)

    def _gave_up(self, number: int, attempt: _Try[Id]) -> None:
        if attempt.connection is None:
            self._end(number, ProbeVerdict.NAME_UNKNOWN, f"the name {attempt.address} was not resolved in time")
        elif not _is_connected(attempt.connection):
            self._end(number, ProbeVerdict.NO_ANSWER, f"nothing came within {self._timeout_s:g} s")
        else:
            said = "only part of a greeting" if attempt.received else "then nothing"
            self._end(number, ProbeVerdict.SILENT, f"it accepts connections, {said} came within {self._timeout_s:g} s")

    def _end(self, number: int, verdict: ProbeVerdict, detail: str) -> None:
        attempt = self._tries.pop(number)
        self._let_go(attempt)
        self._ended.append((attempt.key, Probe(verdict, detail, time.monotonic() - attempt.began)))

    def _let_go(self, attempt: _Try[Id]) -> None:
        if attempt.connection is not None:
            del self._by_file[attempt.connection.fileno()]
            # A child that is just being started may hold a copy for a moment: closing alone would leave it watched.
            self._epoll.unregister(attempt.connection.fileno())
            attempt.connection.close()
            attempt.connection = None


def tcp_banner(address: str, port: int, timeout_s: float) -> Probe:
    """Look at one address; takes `timeout_s` at most."""
    return probe_many([(0, address, port)], timeout_s)[0]


def probe_many(
    targets: Sequence[tuple[Id, str, int]],
    timeout_s: float,
    limit: int = 500,
    on_result: Callable[[Id, Probe], None] | None = None,
) -> dict[Id, Probe]:
    """Look at many addresses, at most `limit` at the same time; `timeout_s` is for each.

    `on_result` is called in this thread as results come, the quick ones first.
    """
    found: dict[Id, Probe] = {}
    with closing(Prober[Id](timeout_s, limit)) as prober:
        for key, address, port in targets:
            prober.add(key, address, port)
        while len(prober):
            for key, probe in prober.poll(_LOOK_S):
                found[key] = probe
                if on_result is not None:
                    on_result(key, probe)
    return found


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
