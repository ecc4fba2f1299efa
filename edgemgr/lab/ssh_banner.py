"""Waiting until a site's sshd answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

PAUSE_S = 0.1


class StillDarkError(Exception):
    """No banner came; the message says why the wait ended."""


def wait_for_banner(
    address: str, port: int, *, within_s: float, is_alive: Callable[[], bool], give_up: threading.Event
) -> None:
    """Return as soon as an SSH server has introduced itself at the address.

    Args:
        address: IPv4 address.
        port: TCP port.
        within_s: seconds to wait at most.
        is_alive: whether what should answer still runs.
        give_up: ends the wait early.

    Raises:
        StillDarkError: time is up, it has ended, or the wait was given up.
    """
    deadline = time.monotonic() + within_s
    while True:
        if _answers(address, port):
            return
        if not is_alive():
            raise StillDarkError("it ended while it booted")
        if time.monotonic() > deadline:
            raise StillDarkError(f"no SSH server answered at {address} port {port} within {within_s:g} s")
        if give_up.wait(PAUSE_S):
            raise StillDarkError("the wait was given up")


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
