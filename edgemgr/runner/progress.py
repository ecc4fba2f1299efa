"""Progress: what Ansible does with each site of a batch, settled or not. Times are those of a monotonic clock."""

from __future__ import annotations

from statistics import median

from edgemgr.runner.events import EventKind, RunnerEvent

#: A site is slow when its work takes so many times as long as that of the others usually did, but at least so long.
SLOW_TIMES = 3.0
SLOW_MIN_S = 20.0
_ENDS = frozenset({EventKind.OK, EventKind.SKIPPED, EventKind.FAILED, EventKind.UNREACHABLE})


class Progress:
    """Who has begun and when, and at which sites a task runs now. Used by one thread."""

    def __init__(self, now: float) -> None:
        self._began: dict[str, float] = {}
        self._working: set[str] = set()
        self._took_s: list[float] = []
        self.moved_at = now  #: when the last task began or ended

    def note(self, event: RunnerEvent, now: float) -> None:
        """Read one event."""
        if event.kind is EventKind.BEGINS:
            self._began.setdefault(event.host, now)
            self._working.add(event.host)
            self.moved_at = now
        elif event.kind in _ENDS:
            self._working.discard(event.host)
            self.moved_at = now

    def finished(self, host: str, now: float) -> None:
        """The site was settled by what it said itself: how long that took is what others are measured by."""
        if host in self._began:
            self._took_s.append(now - self._began[host])

    def has_begun(self, host: str) -> bool:
        """A task of the site was begun."""
        return host in self._began

    def is_working(self, host: str) -> bool:
        """A task of the site runs now, and takes a fork."""
        return host in self._working

    @property
    def working(self) -> int:
        """How many forks are taken."""
        return len(self._working)

    def is_over(self, host: str, limit_s: float, now: float) -> bool:
        """The site was begun so long ago."""
        return host in self._began and now - self._began[host] >= limit_s

    def slow(self, now: float) -> int:
        """How many forks are taken by sites that need much longer than the others."""
        usual_s = median(self._took_s) if self._took_s else 0.0
        limit_s = max(SLOW_MIN_S, SLOW_TIMES * usual_s)
        return sum(now - self._began[host] >= limit_s for host in self._working)
