"""The long forms on all processors, each share in a process of its own, whose memory nothing else has touched."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec

P = ParamSpec("P")


def in_shards(work: Callable[Concatenate[int, int, P], object], *args: P.args, **kwargs: P.kwargs) -> list[int]:
    """Call `work(number, count, …)`, a function of a module, for each of `count` shares.

    Returns how many bytes of memory the process of each share held at most.
    """
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as processes:
        shares = [processes.submit(_measured, work, number, count, *args, **kwargs) for number in range(count)]
        return [share.result() for share in shares]


def _measured(
    work: Callable[Concatenate[int, int, P], object], number: int, count: int, *args: P.args, **kwargs: P.kwargs
) -> int:
    work(number, count, *args, **kwargs)
    # Not getrusage(): that counts what the process held before it became this program.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10
