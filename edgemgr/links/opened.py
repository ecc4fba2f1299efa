"""Opened: connections that were made to look at a host's key, kept for the login that mostly follows at once.

A site that is back is looked at before anything is woken for it, and entered seconds later. The exchange of keys is
most of what either costs both ends, so the one is gone on with. Who goes on compares the key with the pin like anybody
else.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko

#: A connection is kept for so long, seconds: sshd closes it after 120 (LoginGraceTime in sshd_config(5)).
KEEP_S = 30.0
#: No more than these; each is a thread and an open file.
KEEP_MOST = 64

#: Address, port, and the types of key that were asked for, the preferred one first.
_Door = tuple[str, int, tuple[str, ...]]


class Opened:
    """Connections that nobody has logged in over, one for each host and key."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._kept: dict[_Door, paramiko.Transport] = {}
        self._guard = threading.Lock()

    def keep(self, address: str, port: int, key_types: tuple[str, ...], transport: paramiko.Transport) -> None:
        """Keep a connection whose host has shown its key; it is closed if nobody takes it in time."""
        door = (address, port, key_types)
        with self._guard:
            spare = self._kept.pop(door, None)
            if len(self._kept) < KEEP_MOST:
                self._kept[door] = transport
                timer = threading.Timer(self._keep_s, self._close, (door, transport))
                timer.daemon = True
                timer.start()
            else:
                spare = transport
        if spare is not None:
            spare.close()

    def take(self, address: str, port: int, key_types: tuple[str, ...]) -> paramiko.Transport | None:
        """The connection that was made by asking for the same key, if it still stands."""
        with self._guard:
            transport = self._kept.pop((address, port, key_types), None)
        return transport if transport is not None and transport.is_active() else None

    def _close(self, door: _Door, transport: paramiko.Transport) -> None:
        with self._guard:
            if self._kept.get(door) is not transport:
                return
            del self._kept[door]
        transport.close()


@cache
def opened() -> Opened:
    """Those of this process."""
    return Opened()
