"""What a module has done so far, in order. A failure tells it as well as a success."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any


class Steps:
    """`changes` are what was done, in words, `diffs` what `--diff` shows, `found` further keys of the result."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: list[dict[str, Any]] = []
        self.changes: list[str] = []
        self.diffs: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note how long the block took and whether it changed something, also when it fails."""
        began_at, before = self._clock(), len(self.changes)
        try:
            yield
        finally:
            seconds = round(self._clock() - began_at, 2)
            self._done.append({"step": name, "seconds": seconds, "changed": len(self.changes) > before})

    def results(self) -> dict[str, Any]:
        """The keys of the task's result."""
        return {
            **self.found,
            "changed": bool(self.changes),
            "edge_changes": self.changes,
            "edge_steps": self._done,
            "diff": self.diffs,
        }
