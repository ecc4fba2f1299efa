"""Ahead: how many sites may have been entered before a process has forks for them.

A site that was entered and then waits may be gone again when its turn comes: with links that are up for a minute on
average, every ten seconds of waiting lose one in six. So logins are made no earlier than they are needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Self

#: Sites that one process is given at most, for each of its forks. A process costs half a second of CPU before it does
#: anything, so that there is a least number whatever the forks.
GROUP = 5
GROUP_LEAST = 40
#: Sites that may be ahead, for each fork, or GROUP_LEAST: they are entered while a process carries the group before.
#: With room for a whole group they only wait longer, and more of them are gone when their turn comes.
ROOM = 3
#: So many every claim may have ahead in any case: who asks for one site need not wait until two hundred others, which
#: may take an hour each, have found forks.
ALWAYS = 10
_LOOK_S = 1.0


def group_sites(forks: int) -> int:
    """How many sites a process with so many forks is given at most."""
    return max(GROUP * forks, GROUP_LEAST)


class Ahead:
    """What one claim holds of the room that all claims of this process share. Leaving the context frees it."""

    def __init__(self, forks: int) -> None:
        """`forks` is what one process has at most."""
        self.group_sites = group_sites(forks)  #: so many sites one process is given at most
        self._room = _room_of(forks)
        self._own = 0  #: places that are this claim's in any case
        self._held = 0  #: places in the shared room
        self._is_closed = False
        self._guard = threading.Lock()

    def take(self) -> None:
        """Wait until one more site may be entered."""
        with self._guard:
            if self._own < ALWAYS:
                self._own += 1
                return
        while not self._is_closed:
            if self._room.acquire(timeout=_LOOK_S):
                with self._guard:
                    if self._is_closed:
                        self._room.release()
                    else:
                        self._held += 1
                return

    def give_back(self, sites: int = 1) -> None:
        """So many of them wait no more."""
        with self._guard:
            shared = min(sites, self._held)
            self._held -= shared
            self._own -= min(sites - shared, self._own)
            if shared:
                self._room.release(shared)

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give one place back while the block runs, which may take hours."""
        self.give_back()
        try:
            yield
        finally:
            self.take()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self.give_back(self._held)


@cache
def _room_of(forks: int) -> threading.Semaphore:
    """The room that all workers of this process share."""
    return threading.Semaphore(max(ROOM * forks, GROUP_LEAST))
