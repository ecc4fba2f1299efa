"""Is it the right host? A key exchange with a host that greets, compared with the pinned key; no login, no secret.

Costs some 3 ms of CPU each, so it is done once before a site is woken and not with every probe. The connection to the
right host is kept for the login (opened.py).
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from edgemgr.errors import SiteError, SiteUnreachableError
from edgemgr.links.host_keys import find, fingerprint, is_fingerprint, matches, types_for
from edgemgr.links.opened import opened
from edgemgr.links.probe_verdict import Probe, ProbeVerdict

#: Key exchanges at the same time.
_AT_ONCE = 16
Id = TypeVar("Id", bound=Hashable)


class KeyChecker(Generic[Id]):
    """Checks under way, for the one thread that owns it: `add` begins one, `poll` gives those that have ended."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool: ThreadPoolExecutor | None = None
        self._ended: SimpleQueue[tuple[Id, Probe]] = SimpleQueue()

    def add(self, key: Id, address: str, port: int, pin: str) -> None:
        """Begin to compare a host's key with `pin`, a public key line or a fingerprint."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="key-check")
        self._pool.submit(self._check, key, address, port, pin)

    def poll(self) -> list[tuple[Id, Probe]]:
        """Give what has ended since; REACHABLE means that the right host answered."""
        found = []
        with suppress(Empty):
            while True:
                found.append(self._ended.get_nowait())
        return found

    def close(self) -> None:
        """Begin no more; what is under way ends by its own time limit."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, key: Id, address: str, port: int, pin: str) -> None:
        try:
            probe = check_key(address, port, pin, timeout_s=self._timeout_s)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the site must not wait for ever for an answer
            probe = Probe(ProbeVerdict.NOT_TRIED, f"the check of its host key failed: {exc!r}", 0.0)
        self._ended.put((key, probe))


def check_key(address: str, port: int, pin: str, *, timeout_s: float) -> Probe:
    """Compare the key that a host shows with the pinned one."""
    began = time.monotonic()
    try:
        shown = _shown(address, port, pin, timeout_s)
    except SiteUnreachableError:
        verdict, detail = ProbeVerdict.SILENT, "it greets, but the key exchange does not come to an end"
    except SiteError as exc:  # no algorithm in common: an attempt will say so, and what to do about it
        verdict, detail = ProbeVerdict.REACHABLE, exc.message
    else:
        if matches(pin, shown):
            verdict, detail = ProbeVerdict.REACHABLE, "the pinned host key"
        else:
            elapsed_s = time.monotonic() - began
            return Probe(ProbeVerdict.OTHER_KEY, f"shows another host key: {fingerprint(shown)}", elapsed_s, shown)
    return Probe(verdict, detail, time.monotonic() - began)


def _shown(address: str, port: int, pin: str, timeout_s: float) -> str:
    """The key that a login would be shown, or, where a fingerprint is pinned, the one that it stands for."""
    from edgemgr.links.handshake import shake_hands, shown_key

    key_types = types_for(pin)
    transport = shake_hands(address, port, jump=None, key_types=key_types, timeout_s=timeout_s)
    shown = shown_key(transport)
    if matches(pin, shown):
        opened().keep(address, port, key_types, transport)
        return shown
    transport.close()
    return find(pin, address, port, timeout_s=timeout_s) if is_fingerprint(pin) else shown
