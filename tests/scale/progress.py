"""Progress of a benchmark, for whoever waits for it."""

from __future__ import annotations

import sys
import time

_began = time.monotonic()


def say(line: str) -> None:
    """One line on stderr, with the seconds since the start."""
    sys.stderr.write(f"{time.monotonic() - _began:7.1f}s  {line}\n")
    sys.stderr.flush()
