"""Probe: does anything that speaks SSH answer? One TCP connection and one line, for thousands of sites at once.

Cheap on both sides: no key exchange, no paramiko, no thread per site. sshd counts a connection without a login as one
second of penalty and acts from fifteen on (PerSourcePenalties in sshd_config(5), OpenSSH 9.8): leave seconds between.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_PREAMBLE_BYTES = 8192
_LINES = 50
Id = TypeVar("Id", bound=Hashable)


class ProbeVerdict(StrEnum):
    """What answered."""

    REACHABLE = "reachable"  #: an SSH server greeted, or said that it is busy
    REFUSED = "refused"  #: the host is there, the port is closed
    NO_ANSWER = "no answer"  #: nothing came in time, or no way leads there
    NOT_SSH = "not ssh"  #: something else listens on that port


@dataclass(frozen=True)
class Probe:
    """One look at one address."""

    verdict: ProbeVerdict
    detail: str
    elapsed_s: float


def tcp_banner(address: str, port: int, timeout_s: float) -> Probe:
    """Look at one address; takes `timeout_s` at most."""
    return probe_many([(0, address, port)], timeout_s)[0]


def probe_many(targets: Sequence[tuple[Id, str, int]], timeout_s: float, limit: int = 500) -> dict[Id, Probe]:
    """Look at many addresses, at most `limit` at the same time; `timeout_s` is for each."""
    return asyncio.run(_probe_all(targets, timeout_s, limit))


async def _probe_all(targets: Sequence[tuple[Id, str, int]], timeout_s: float, limit: int) -> dict[Id, Probe]:
    waiting = iter(targets)
    results: dict[Id, Probe] = {}

    async def work() -> None:
        for key, address, port in waiting:
            results[key] = await _probe(address, port, timeout_s)

    await asyncio.gather(*(work() for _ in range(min(limit, len(targets)))))
    return results


async def _probe(address: str, port: int, timeout_s: float) -> Probe:
    started = time.monotonic()
    try:
        verdict, detail = await asyncio.wait_for(_greeting(address, port), timeout_s)
    except TimeoutError:
        verdict, detail = ProbeVerdict.NO_ANSWER, f"nothing came within {timeout_s:g} s"
    except ConnectionRefusedError:
        verdict, detail = ProbeVerdict.REFUSED, "connection refused"
    except (socket.gaierror, UnicodeError):
        verdict, detail = ProbeVerdict.NO_ANSWER, f"the name {address} cannot be resolved"
    except OSError as exc:
        verdict, detail = ProbeVerdict.NO_ANSWER, exc.strerror or str(exc)
    return Probe(verdict, detail, time.monotonic() - started)


async def _greeting(address: str, port: int) -> tuple[ProbeVerdict, str]:
    reader, writer = await asyncio.open_connection(address, port, limit=_PREAMBLE_BYTES)
    try:
        # A server may send other lines before its version (RFC 4253 4.2).
        for _ in range(_LINES):
            line = (await reader.readuntil(b"\n")).rstrip()
            if line.startswith(b"SSH-"):
                return ProbeVerdict.REACHABLE, line.decode("ascii", "replace")
            if line.startswith(b"Exceeded MaxStartups"):
                return ProbeVerdict.REACHABLE, "sshd is busy (MaxStartups)"
    except asyncio.LimitOverrunError:
        return ProbeVerdict.NOT_SSH, "a long answer, but no SSH greeting"
    except asyncio.IncompleteReadError as exc:
        return ProbeVerdict.NOT_SSH, "closed without an SSH greeting" if not exc.partial else "no SSH greeting"
    finally:
        writer.transport.abort()
    return ProbeVerdict.NOT_SSH, "many lines, but no SSH greeting"
