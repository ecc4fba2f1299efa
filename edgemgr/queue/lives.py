"""Lives: sites that gave a sign of life a moment ago, which need not give another for the next attempt.

A link that goes down soon after a login costs a site its attempt. When it is back, the login that asks for a word is
half of what entering it costs; the connection that Ansible opens proves the host key and the way in any case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from edgemgr.model.target import Target

#: A sign of life holds for so long, seconds, and for one further attempt: a host whose disk has died meanwhile would
#: hold a fork until the time of its attempt is over, so that none is believed twice.
HOLDS_S = 120.0

_Door = tuple[int, str, int, str]


@dataclass
class Lives:
    """What was heard, by site and address; another host at that address is another door."""

    clock: Callable[[], float] = time.monotonic
    _heard: dict[_Door, tuple[float, float]] = field(default_factory=dict)  #: when, and how long the word took
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def note(self, target: Target) -> None:
        """It has just given a word."""
        if target.answers_in_s is None:
            return
        now = self.clock()
        with self._guard:
            self._heard.pop(_door(target), None)  # so that they stay in the order of time
            while self._heard and now - next(iter(self._heard.values()))[0] >= HOLDS_S:
                del self._heard[next(iter(self._heard))]
            self._heard[_door(target)] = (now, target.answers_in_s)

    def recall(self, target: Target) -> Target | None:
        """The target with the time that its word took, if that was lately; it counts no more from now on."""
        with self._guard:
            heard_at, took_s = self._heard.pop(_door(target), (None, 0.0))
        if heard_at is None or self.clock() - heard_at >= HOLDS_S:
            return None
        return replace(target, answers_in_s=took_s)


def _door(target: Target) -> _Door:
    return target.site_id, target.address, target.port, target.host_key


@cache
def lives() -> Lives:
    """What all workers of this process have heard."""
    return Lives()
