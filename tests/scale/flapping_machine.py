"""The appliance's processors in the simulated fleet: shared evenly by the sites that are being carried.

A site alone takes as long as it takes; many at once are together as fast as was measured without flapping. A site
whose link is down, or that a fork waits for in vain, takes nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Timeline(Protocol):
    """What it needs of the fleet."""

    now_s: float

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Do something later."""


@dataclass
class Machine:
    """`rate_per_s`: sites a second when many are carried; `alone_s`: seconds for one that has all to itself."""

    timeline: Timeline
    rate_per_s: float
    alone_s: float
    _left: dict[int, float] = field(default_factory=dict)  #: site → the share of its work that is left
    _done: dict[int, Callable[[], None]] = field(default_factory=dict)
    _since_s: float = 0.0
    _plans: int = 0

    def carry(self, site: int, share: float, done: Callable[[], None]) -> None:
        """Carry on with a site of which this share is left."""
        self._advance()
        self._left[site], self._done[site] = share, done
        self._plan()

    def interrupt(self, site: int) -> float:
        """Stop with a site; returns the share that is left."""
        self._advance()
        del self._done[site]
        share = self._left.pop(site)
        self._plan()
        return share

    def _speed(self) -> float:
        return min(1 / self.alone_s, self.rate_per_s / len(self._left))

    def _advance(self) -> None:
        if self._left:
            gained = (self.timeline.now_s - self._since_s) * self._speed()
            self._left = {site: left - gained for site, left in self._left.items()}
        self._since_s = self.timeline.now_s

    def _plan(self) -> None:
        """The next one that will be done, if nothing changes until then."""
        self._plans += 1
        if not self._left:
            return
        plan, site = self._plans, min(self._left, key=lambda each: self._left[each])
        when_s = self.timeline.now_s + max(0.0, self._left[site]) / self._speed()

        def due() -> None:
            if plan == self._plans:
                done = self._done[site]
                self.interrupt(site)
                done()

        self.timeline.at(when_s, due)
