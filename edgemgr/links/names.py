"""Names of hosts to addresses, without waiting: the name service may take its time, and most sites need none."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

#: Names that are resolved at the same time; the others wait for their turn.
_THREADS = 8


def is_numeric(address: str) -> int:
    """The family of a numeric address, AF_INET or AF_INET6; 0 for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, address)
            return int(family)
    return 0


class Names:
    """Questions to the name service in threads of their own. `bell` can be waited for: it rings with each answer."""

    def __init__(self) -> None:
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._pool: ThreadPoolExecutor | None = None  # most never need it
        self._answers: SimpleQueue[tuple[int, list[tuple[int, str]]]] = SimpleQueue()
        self._is_open = True
        self._closing = threading.Lock()  # the number of a closed file may already belong to another

    def ask(self, number: int, name: str) -> None:
        """Ask for the addresses of a name; the answer bears the number."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
        self._pool.submit(self._look_up, number, name)

    def answers(self) -> list[tuple[int, list[tuple[int, str]]]]:
        """Give the answers that have come: number and (family, address); none for a name that has no address."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.bell)
        found = []
        with suppress(Empty):
            while True:
                found.append(self._answers.get_nowait())
        return found

    def close(self) -> None:
        """Wait for no more answers."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        with self._closing:
            self._is_open = False
            os.close(self.bell)

    def _look_up(self, number: int, name: str) -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            ways = [(int(family), str(place[0])) for family, _, _, _, place in found]
        except (OSError, UnicodeError):
            ways = []
        self._answers.put((number, ways))
        with self._closing:
            if self._is_open:
                os.eventfd_write(self.bell, 1)
