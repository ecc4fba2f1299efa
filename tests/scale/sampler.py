"""Looking at something every now and then, beside what runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Sampler:
    """Calls `look` every `every_s` seconds, in a thread of its own, while the block runs."""

    def __init__(self, every_s: float, look: Callable[[], None]) -> None:
        self._every_s = every_s
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self._look()
