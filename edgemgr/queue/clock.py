"""Time as the queue knows it: a clock that nobody can set for spans, and a time of day that may turn out wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edgemgr.model.timestamp import utc_now

#: The time of day jumped if it moved by this much more or less than the steady clock did, seconds. Below it lies
#: what NTP corrects in steps and what a busy machine needs between two readings.
JUMP_S = 30.0
#: After a start or a jump the time of day is trusted to end something for good only after so long, seconds.
CALM_S = 600.0


def since_boot() -> float:
    """Seconds since the machine started, those in which it slept included (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class QueueClock:
    """The time of day, read now and then, and carried on by the steady clock in between.

    On PostgreSQL the readings are the server's, so that workers on several machines agree.
    """

    wall: Callable[[], datetime] = utc_now
    steady: Callable[[], float] = since_boot
    jumps: int = 0  #: how often the time of day has jumped since this clock was made
    _reading: tuple[datetime, float] = field(init=False)  #: the time of day at a moment of the steady clock
    _calm_since: float = field(init=False)
    _is_first: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._calm_since = self.steady()
        self._reading = (self.wall(), self._calm_since)

    def now(self) -> datetime:
        """The time of day; aware, UTC."""
        reading, at = self._reading
        return reading + timedelta(seconds=self.steady() - at)

    def read(self, server: datetime | None = None) -> timedelta | None:
        """Read the time of day anew, the server's where given; returns by how much it jumped, None if it did not."""
        reading, at = server or self.wall(), self.steady()
        moved = reading - self.now()
        self._reading = (reading, at)
        is_first, self._is_first = self._is_first, False
        if abs(moved.total_seconds()) <= JUMP_S:
            return None
        self._calm_since = at
        if is_first and server is not None:
            return None  # before that it was our own time of day: no jump, another clock
        self.jumps += 1
        return moved

    def passed_for_certain(self) -> datetime | None:
        """A moment that has passed beyond doubt: a deadline before it may end something. None: no such moment yet.

        Every deadline before it has been seen as passed for `CALM_S` without a jump.
        """
        if self.steady() - self._calm_since < CALM_S:
            return None
        return self.now() - timedelta(seconds=CALM_S)
