"""Links that come and go: an alternating renewal process with exponential spans, the same for the same seed."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Flapping:
    """How the links of a fleet behave; the duty cycle is the share of time in which a link is up."""

    mean_up_s: float = 60.0
    mean_down_s: float = 40.0
    seed: int = 1

    @property
    def duty(self) -> float:
        return self.mean_up_s / (self.mean_up_s + self.mean_down_s)


class Link:
    """One site's link. Time is in seconds since the fleet began; questions may come in any order."""

    def __init__(self, flapping: Flapping, number: int) -> None:
        self._flapping = flapping
        self._chance = random.Random(f"{flapping.seed}/{number}")  # noqa: S311 - no secret hangs on it
        self._begins_up = self._chance.random() < flapping.duty  # exponential spans: stationary from the first moment
        self._changes = [0.0]  #: when the spans begin

    def is_up(self, at_s: float) -> bool:
        """Whether packets pass."""
        return self._is_up(self._span(at_s))

    def next_change(self, at_s: float) -> float:
        """When it will next be otherwise than now."""
        return self._changes[self._span(at_s) + 1]

    def up_from(self, at_s: float) -> float:
        """The first moment from now on at which it is up."""
        return at_s if self.is_up(at_s) else self.next_change(at_s)

    def _span(self, at_s: float) -> int:
        while self._changes[-1] <= at_s:
            is_up = self._is_up(len(self._changes) - 1)
            mean_s = self._flapping.mean_up_s if is_up else self._flapping.mean_down_s
            self._changes.append(self._changes[-1] + self._chance.expovariate(1 / mean_s))
        return bisect_right(self._changes, at_s) - 1

    def _is_up(self, span: int) -> bool:
        return self._begins_up == (span % 2 == 0)


class SteadyLink(Link):
    """A link that is always up."""

    def __init__(self) -> None:
        super().__init__(Flapping(), 0)

    def is_up(self, at_s: float) -> bool:
        return True

    def next_change(self, at_s: float) -> float:
        return float("inf")
