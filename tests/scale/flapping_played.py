"""Played tries for the real watch: what a probe or a check of a host key would find on a link of the fleet."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flapping_link import Link

from edgemgr.links.probe_verdict import Probe, ProbeVerdict
from edgemgr.queue.tries import Endpoint

ANSWER_S = 0.1  #: two round trips


@dataclass
class Played:
    """A site that is up answers after two round trips, one that is down is given up after `timeout_s`."""

    links: Mapping[str, Link]  #: by address
    clock: Callable[[], float]
    timeout_s: float
    tried: int = 0
    _under_way: list[tuple[float, Endpoint, Probe]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, key: Endpoint, address: str, port: int, pin: str = "") -> None:
        """Begin a try."""
        self.tried += 1
        now_s = self.clock()
        if self.links[address].is_up(now_s):
            ended = (now_s + ANSWER_S, key, Probe(ProbeVerdict.REACHABLE, "SSH-2.0-played", ANSWER_S))
        else:
            silent = Probe(ProbeVerdict.NO_ANSWER, f"nothing came within {self.timeout_s:g} s", self.timeout_s)
            ended = (now_s + self.timeout_s, key, silent)
        heapq.heappush(self._under_way, ended)

    def poll(self) -> Sequence[tuple[Endpoint, Probe]]:
        """Those that have ended by now."""
        found = []
        while self._under_way and self._under_way[0][0] <= self.clock():
            _, key, probe = heapq.heappop(self._under_way)
            found.append((key, probe))
        return found
