"""The files that logs of attempts are in: which attempts have some, and their removal."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from pathlib import Path

#: Files younger than this are left alone, seconds: somebody may just be writing them.
YOUNG_S = 3600.0

_NAME = re.compile(r"(\d+)\.log(?:\.zst|\.zst\.part|\.part)?")


def log_directories(log_dir: Path) -> list[Path]:
    """The directories that hold logs, each of a range of attempts, the oldest first."""
    try:
        found = [path for path in log_dir.iterdir() if path.name.isdigit() and path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: int(path.name))


def logged_attempts(directory: Path) -> dict[int, list[Path]]:
    """Attempt → its files in this directory."""
    found: dict[int, list[Path]] = {}
    for path in directory.iterdir():
        if match := _NAME.fullmatch(path.name):
            found.setdefault(int(match[1]), []).append(path)
    return found


def remove_logs(paths: Collection[Path]) -> int:
    """Remove those of these files that have not been written for a while; returns how many."""
    before = time.time() - YOUNG_S
    removed = 0
    for path in paths:
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def remove_if_empty(directory: Path) -> None:
    """Remove a directory that no new attempt writes to any more, if nothing is left in it."""
    if not any(directory.iterdir()):
        directory.rmdir()
