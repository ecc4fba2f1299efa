"""How quick this machine is at a time: what a page fault costs, in CPU time.

A virtual machine may be half as quick at one minute as at another, whatever runs in it. What is carried here are short
processes, much of whose cost is memory that they touch for the first time; so what that costs follows how quickly sites
are bootstrapped. Sites a second times the cost of a fault was the same within 2 % in seven rounds of an hour, whose
rates differed by a fifth, and a tenth less in an eighth, when the machine was slowest; hours later it was three
quarters. So it only says how one round compares with another of the same run, and the page shows by two steady rounds
how well.
"""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sampler import Sampler

SAMPLE_S = 2.0
#: What counts for a moment are the samples that lie no further from it, seconds.
WINDOW_S = 15.0
_BYTES = 8 << 20


@dataclass(frozen=True)
class FaultCosts:
    """Samples in the order of time: when, in seconds, and microseconds a fault."""

    samples: Sequence[tuple[float, float]]

    def at(self, at_s: float) -> float:
        """The cost about that time; beyond the samples, that of the nearest ones."""
        times = [when_s for when_s, _ in self.samples]
        near_s = min(max(at_s, times[0]), times[-1])
        low, high = bisect_left(times, near_s - WINDOW_S), bisect_left(times, near_s + WINDOW_S)
        return median(cost for _, cost in self.samples[low:high])

    def over(self, from_s: float, to_s: float) -> float:
        """The cost between two times."""
        return median(cost for when_s, cost in self.samples if from_s <= when_s <= to_s)


class Speedometer(Sampler):
    """Takes samples while the block runs, in seconds since `epoch_s` of the monotonic clock."""

    def __init__(self, epoch_s: float) -> None:
        super().__init__(SAMPLE_S, self._take)
        self._epoch_s = epoch_s
        self._samples: list[tuple[float, float]] = []

    @property
    def costs(self) -> FaultCosts:
        """What was measured so far."""
        return FaultCosts(tuple(self._samples))

    def _take(self) -> None:
        self._samples.append((time.monotonic() - self._epoch_s, _fault_us()))


def _fault_us() -> float:
    with mmap.mmap(-1, _BYTES) as memory:
        began = time.thread_time()
        for place in range(0, _BYTES, mmap.PAGESIZE):
            memory[place] = 1
        return (time.thread_time() - began) / (_BYTES // mmap.PAGESIZE) * 1e6
