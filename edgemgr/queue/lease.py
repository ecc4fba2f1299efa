"""Leases: who has been silent for too long by my clock, and whether I may still believe in my own.

A worker's beats are the lease on all that it holds. No wall clock is asked: each worker counts on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: A worker that could not store a beat for this part of the lease lets go of what it runs, so that it has stopped
#: before another one may think it dead.
DOUBT = 2 / 3
#: Between two of its own beats an observer counts no more than this part of the lease as silence of the others: who
#: was stopped or cut off itself, or found the database away, gives the others time to be heard again.
GAP = 1 / 3


@dataclass
class Lease:
    """A worker's own right to what it holds."""

    worker_id: str
    lease_s: float
    steady: Callable[[], float]
    beaten_at: float  #: when the last beat that was stored was sent, by `steady`
    is_lost: bool = False  #: the others gave this worker up
    is_first: bool = False  #: of the workers that serve the same zones this one does what one does for all
    held: dict[int, bool] = field(default_factory=dict)  #: attempt → asked to stop
    giving_way: frozenset[int] = frozenset()  #: of these, transfers whose site has something more urgent to do

    def is_sure(self) -> bool:
        """Whether nobody else can have taken over what this worker holds."""
        return not self.is_lost and self.steady() - self.beaten_at < self.lease_s * DOUBT

    def must_stop(self, attempt_id: int) -> bool:
        """Whether this attempt is to be ended: canceled, no longer ours, or perhaps no longer ours."""
        return not self.is_sure() or self.held.get(attempt_id, True)


@dataclass
class Silence:
    """What one worker hears of the others."""

    lease_s: float
    _heard: dict[str, tuple[int, float]] = field(default_factory=dict)  #: worker → its beats, its silence in seconds
    _listened_at: float | None = None

    def listen(self, beats: Mapping[str, int], now: float) -> set[str]:
        """The workers that have not beaten for a lease; to be called after each own beat that was stored."""
        passed = 0.0 if self._listened_at is None else min(now - self._listened_at, self.lease_s * GAP)
        self._listened_at = now
        heard = {}
        for worker_id, number in beats.items():
            before, silent_s = self._heard.get(worker_id, (number, -passed))
            heard[worker_id] = (number, silent_s + passed if number == before else 0.0)
        self._heard = heard
        return {worker_id for worker_id, (_, silent_s) in heard.items() if silent_s >= self.lease_s}
