"""Slots: how many sites the Ansible processes of this process may work on at the same time, all together.

A fork of Ansible with its ssh costs some 15 MB and the process itself as much as four of them, so that their number
bounds the memory, however many batches there are. Slots come back as soon as a process has fewer open sites than
forks: one that lingers for a single slow site holds one, and what the process itself costs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache

#: What a process costs beside its forks, in forks.
PROCESS = 4
#: Sites of a small claim, for which there is room beside a full one. So many more of a full one may still be open when
#: the next begins: a process takes two seconds to get going.
SMALL = 9
#: Who has waited so long may take from the reserve, seconds: what holds the others are slow sites.
PATIENCE_S = 30.0
_LOOK_S = 1.0


class Slots:
    """A count that threads take from and give back to.

    There is room for one process of full size and a small one, and in reserve for one more of full size. The reserve
    is for when slow sites hold most of the rest: nobody should wait for hours since a few others hang.
    """

    def __init__(self, forks: int) -> None:
        """`forks` is what one process has at most."""
        self._forks = forks
        self._reserve = forks + PROCESS
        self._free = forks + PROCESS + SMALL + PROCESS
        self._changed = threading.Condition()

    def take(self, count: Callable[[], int], is_over: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> int:
        """Wait until a process pays, and give the number of its forks; 0 when `is_over` says so meanwhile.

        `count` tells how many sites it is for, which may grow while they wait.

        Three quarters of the forks that it may have must be free, or one for each site: the number holds for the whole
        life of that process, and two with half of them are slower together than one with all.
        """
        since = time.monotonic()
        with self._changed:
            while True:
                sites = count()
                free = self._free + (self._reserve if time.monotonic() - since >= patience_s else 0)
                if free >= PROCESS + self._least(sites):
                    forks = min(sites, self._forks, free - PROCESS)
                    self._free -= forks + PROCESS
                    return forks
                if is_over():
                    return 0
                self._changed.wait(_LOOK_S)

    def enough(self, most: int) -> int:
        """For how many sites a process begins at once, of the most that one is given.

        While all is idle, for those of the first logins, which come to a dozen at once. For as many as it has forks at
        least, when those are free: they would lie idle while more gather. Else for the most: small processes would
        follow each other for ever, at half a second of CPU each.
        """
        with self._changed:
            if self.is_idle():
                return most // 8
            least = self._least(most)
            return least if self._free >= PROCESS + least else most

    def is_idle(self) -> bool:
        """A process of full size could begin at once."""
        with self._changed:
            return self._free >= PROCESS + self._forks

    def has_room(self) -> bool:
        """A further process for many sites could begin, if need be from the reserve."""
        with self._changed:
            return self._free + self._reserve >= PROCESS + self._least(self._forks)

    def give_back(self, count: int) -> None:
        """Free some of them."""
        with self._changed:
            self._free += count
            self._changed.notify_all()

    def _least(self, sites: int) -> int:
        """The fewest forks that a process for so many sites is given."""
        return min(sites, max(1, self._forks * 3 // 4))


class Held:
    """The slots of one process, which become fewer as its sites are settled."""

    def __init__(self, slots: Slots, forks: int, sites: int) -> None:
        self._slots = slots
        self.forks = forks  #: that it has now
        self._open = sites

    def settled(self, sites: int = 1) -> None:
        """So many sites need this process no more."""
        self._open -= sites
        spare = max(0, self.forks - self._open)
        self.forks -= spare
        if spare:
            self._slots.give_back(spare)

    def close(self) -> None:
        """The process is gone."""
        self._slots.give_back(self.forks + PROCESS)


@cache
def slots_of(forks: int) -> Slots:
    """The slots that all workers of this process share."""
    return Slots(forks)
