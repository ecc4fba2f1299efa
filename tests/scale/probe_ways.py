"""Looking at many addresses in one way; run by bench_probe.py inside a dark network.

    python probe_ways.py WAY COUNT

Prints what it took as JSON. Of the addresses 36 % swallow everything, 2 % refuse, 2 % take connections and say nothing.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from dark_network import dark_address

from edgemgr.links.probe import probe_many
from edgemgr.queue.watch import PROBE_LIMIT, PROBE_TIMEOUT_S

GREETING, SILENT, CLOSED = 2201, 2202, 2203
THREADS = 200
Target = tuple[int, str, int]


def targets(count: int) -> list[Target]:
    """The same mix for every way and every count, well mixed."""
    chosen = []
    for number in range(count):
        place = number * 37 % 100
        local = f"127.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        if place < 36:
            chosen.append((number, dark_address(number), 22))
        else:
            port = CLOSED if place < 38 else SILENT if place < 40 else GREETING
            chosen.append((number, local, port))
    return chosen


def by_edgemgr(chosen: list[Target]) -> Counter[str]:
    return Counter(probe.verdict.value for probe in probe_many(chosen, PROBE_TIMEOUT_S, PROBE_LIMIT).values())


def by_asyncio_streams(chosen: list[Target]) -> Counter[str]:
    found: Counter[str] = Counter()
    gate = asyncio.Semaphore(PROBE_LIMIT)

    async def look(address: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            return await reader.readline()
        finally:
            writer.transport.abort()

    async def one(address: str, port: int) -> None:
        async with gate:
            try:
                found[_word(await asyncio.wait_for(look(address, port), PROBE_TIMEOUT_S))] += 1
            except OSError as exc:  # TimeoutError is one
                found[type(exc).__name__] += 1

    async def every() -> None:
        await asyncio.gather(*(one(address, port) for _, address, port in chosen))

    asyncio.run(every())
    return found


def by_threads(chosen: list[Target]) -> Counter[str]:
    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(pool.map(_blocking, chosen))


def one_by_one(chosen: list[Target]) -> Counter[str]:
    return Counter(map(_blocking, chosen))


def _blocking(target: Target) -> str:
    _, address, port = target
    try:
        with socket.create_connection((address, port), PROBE_TIMEOUT_S) as connection:
            return _word(connection.recv(256))
    except OSError as exc:
        return type(exc).__name__


def _word(line: bytes) -> str:
    return "reachable" if line.startswith(b"SSH-") else "other"


WAYS: dict[str, Callable[[list[Target]], Counter[str]]] = {
    "edgemgr": by_edgemgr,
    "asyncio streams": by_asyncio_streams,
    f"{THREADS} threads": by_threads,
    "one by one": one_by_one,
}


def main() -> None:
    way, count = WAYS[sys.argv[1]], int(sys.argv[2])
    chosen = targets(count)
    greeter = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("greeter.py")), str(GREETING), str(SILENT)],
        stdout=subprocess.PIPE,
    )
    try:
        assert greeter.stdout is not None
        greeter.stdout.readline()
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        found = way(chosen)
        wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    finally:
        greeter.terminate()
        with suppress(subprocess.TimeoutExpired):
            greeter.wait(10)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"targets": count, "wall_s": wall_s, "cpu_s": cpu_s, "verdicts": dict(found)}, sys.stdout)


if __name__ == "__main__":
    main()
