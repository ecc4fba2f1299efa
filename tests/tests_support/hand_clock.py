"""A clock whose hands a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edgemgr.queue.clock import QueueClock

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Hands:
    """The two clocks of a machine: `steady` only runs, `wall` may be set."""

    def __init__(self, wall: datetime = NOON) -> None:
        self.steady_s = 1000.0
        self.wall = wall

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.steady_s += seconds
        self.wall += timedelta(seconds=seconds)

    def set_wall(self, by: timedelta) -> None:
        """Set the time of day."""
        self.wall += by

    def clock(self) -> QueueClock:
        """A process's clock on this machine."""
        return QueueClock(wall=lambda: self.wall, steady=lambda: self.steady_s)
