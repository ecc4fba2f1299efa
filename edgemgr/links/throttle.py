"""Throttle: how fast bytes may leave, by site, by group and for the whole appliance together.

A bucket fills at its rate up to its burst. A transfer that belongs to several asks all of them, and waits for the one
that lets it go last. Whoever asks first goes first; a transfer that waits for its own site's bucket holds up no other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

#: A wait is cut into pieces of this length, so that a rate that was raised or a cancellation is soon noticed.
_LOOK_EVERY_S = 0.5
#: What may leave at once after a pause, in seconds of the rate and in bytes, whichever is more.
_BURST_S = 0.25
_MIN_BURST_BYTES = 64 * 1024


class Bucket:
    """Never lets more go than `burst_bytes` plus the rate times the time that has passed. Threads may share it."""

    def __init__(
        self,
        rate_bytes_s: float | None = None,
        *,
        burst_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start full. `rate_bytes_s` None is no limit; without `burst_bytes` it follows the rate."""
        self._clock = clock
        self._lock = threading.Lock()
        self._burst_bytes = burst_bytes
        self._rate = _checked(rate_bytes_s)
        self._counted_at = clock()
        self._asked = 0.0  #: bytes that were ever asked for
        self._allowed = float(self.burst_bytes)  #: bytes that may have left by now

    @property
    def burst_bytes(self) -> int:
        """How many bytes may leave at once after a pause."""
        if self._burst_bytes is not None:
            return self._burst_bytes
        return max(_MIN_BURST_BYTES, int((self._rate or 0) * _BURST_S))

    @property
    def rate_bytes_s(self) -> float | None:
        """Bytes per second; None is no limit."""
        return self._rate

    def set_rate(self, rate_bytes_s: float | None) -> None:
        """Change the rate from now on, for those who already wait as well."""
        with self._lock:
            self._count()
            self._rate = _checked(rate_bytes_s)
            self._cap()

    def ask(self, number_bytes: int) -> float:
        """Queue up for that many bytes; give the place in the queue, for `wait_s`."""
        with self._lock:
            self._count()
            self._asked += number_bytes
            return self._asked

    def wait_s(self, place: float) -> float:
        """Seconds until the bytes of that place may go, at the present rate; 0: now."""
        with self._lock:
            self._count()
            # Half a byte is within what a clock's fractions can express; without it a wait may never come to its end.
            if self._rate is None or place <= self._allowed + 0.5:
                return 0.0
            return (place - self._allowed) / self._rate

    def _count(self) -> None:
        now = self._clock()
        passed_s, self._counted_at = max(0.0, now - self._counted_at), now
        if self._rate is None:
            self._allowed = max(self._allowed, self._asked + self.burst_bytes)
        else:
            self._allowed += self._rate * passed_s
        self._cap()

    def _cap(self) -> None:
        self._allowed = min(self._allowed, self._asked + self.burst_bytes)


class Throttle:
    """All buckets of one transfer."""

    def __init__(self, buckets: Sequence[Bucket] = (), *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the buckets of the site, of its groups and of the appliance; none is no limit."""
        self._buckets = tuple(buckets)
        self._sleep = sleep

    def wait(self, number_bytes: int, is_canceled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until that many bytes may go in all buckets; False: canceled meanwhile."""
        places = [(bucket, bucket.ask(number_bytes)) for bucket in self._buckets]
        while wait_s := max((bucket.wait_s(place) for bucket, place in places), default=0.0):
            if is_canceled():
                return False
            self._sleep(min(wait_s, _LOOK_EVERY_S))
        return True


class Bandwidth:
    """The buckets of one appliance's process, by name: `all`, `group:NAME`, `site:NAME`."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}

    def set_rate(self, name: str, rate_bytes_s: float | None) -> None:
        """Limit a part, or lift its limit with None; holds at once for transfers that run."""
        self._bucket(name).set_rate(rate_bytes_s)

    def throttle(self, names: Sequence[str]) -> Throttle:
        """Make the throttle of a transfer that belongs to these parts. Parts may get their limit later."""
        return Throttle([self._bucket(name) for name in dict.fromkeys(names)], sleep=self._sleep)

    def _bucket(self, name: str) -> Bucket:
        with self._lock:
            return self._buckets.setdefault(name, Bucket(clock=self._clock))


def _checked(rate_bytes_s: float | None) -> float | None:
    if rate_bytes_s is not None and rate_bytes_s <= 0:
        raise ValueError("a rate is more than 0 bytes per second; to stop transfers, close their window")
    return rate_bytes_s
