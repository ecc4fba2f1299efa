"""Cuts of all links at once, and kill -9 of what sends; what each costs edgemgr."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from stage_link import StageLink
from stage_way import Watcher

SHORTEST_S, LONGEST_S = 3.0, 8.0
#: What has reached a site is on its disk by then.
SETTLE_S = 0.5


@dataclass(frozen=True)
class Cut:
    """One of them, `at_s` seconds after the beginning; `down_s` is 0 for a kill.

    `given_bytes` is what edgemgr gave TCP to send since the one before, `kept_bytes` how much more the site holds that
    is not sent again. Their difference was sent for nothing, or is SSH's own.
    """

    at_s: float
    down_s: float
    given_bytes: int
    kept_bytes: int

    @property
    def lost_bytes(self) -> int:
        return self.given_bytes - self.kept_bytes


def draw_moments(size_bytes: int, count: int, chance: random.Random) -> list[int]:
    """In each of `count` equal parts of the bytes one at random, so that they are spread over the whole."""
    borders = [size_bytes * number // count for number in range(count + 1)]
    return [chance.randrange(low, high) for low, high in pairwise(borders)]


class Cutter:
    """Does it to all links at the same moments. `kept` gives what the site holds for good."""

    def __init__(self, watcher: Watcher, kept: Callable[[], int], chance: random.Random) -> None:
        self.cuts: list[Cut] = []
        self._watcher = watcher
        self._kept = kept
        self._chance = chance
        self._given_bytes = self._kept_bytes = 0

    def cut(self) -> None:
        """All packets vanish for a while, and the sites forget what stood, as when a router begins anew."""
        down_s = self._chance.uniform(SHORTEST_S, LONGEST_S)
        with self._watcher.guard:
            at = time.monotonic()
            self._all(StageLink.cut)
            self._watcher.look()
        self._all(StageLink.forget)
        time.sleep(SETTLE_S)
        self._note(at, down_s)
        time.sleep(max(0.0, at + down_s - time.monotonic()))
        with self._watcher.guard:
            self._all(StageLink.mend)

    def note_kill(self, at: float) -> None:
        """What sends was killed at that moment of the monotonic clock; the links stay."""
        time.sleep(SETTLE_S)
        with self._watcher.guard:
            self._watcher.look()
        self._note(at, 0.0)

    def _note(self, at: float, down_s: float) -> None:
        stream, kept = self._watcher.ledger.to(self._watcher.ways[0].link.net.address), self._kept()
        given = stream.given_bytes
        cut = Cut(at - self._watcher.began, down_s, given - self._given_bytes, kept - self._kept_bytes)
        self._given_bytes, self._kept_bytes = given, kept
        self.cuts.append(cut)

    def _all(self, act: Callable[[StageLink], None]) -> None:
        links = [way.link for way in self._watcher.ways]
        with ThreadPoolExecutor(len(links)) as pool:
            list(pool.map(act, links))
