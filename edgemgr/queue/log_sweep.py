"""Removing logs of attempts that the database does not have any more, on the machine whose disk they are on.

It is the only place that removes logs: whatever made an attempt go, its age, its site's deletion or a crash in the
middle of either, its log follows. An attempt is in the database before its log is begun.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgemgr.queue.clock import since_boot
from edgemgr.runner.log_files import log_directories, logged_attempts, remove_if_empty, remove_logs
from edgemgr.store import retention
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

#: From the beginning of one pass over all logs to that of the next, seconds.
PASS_EVERY_S = 3600.0


def sweep(database: Database, log_dir: Path) -> Iterator[int]:
    """One pass over all logs, a directory at a time; gives how many files were removed there.

    Raises:
        StoreError: the database cannot be used now.
    """
    directories = log_directories(log_dir)
    for directory in directories:
        try:
            yield _sweep_one(database, directory)
            if directory != directories[-1]:
                remove_if_empty(directory)
        except OSError as exc:
            logger.warning("the logs in %s cannot be looked through: %s", directory, exc.strerror)


def _sweep_one(database: Database, directory: Path) -> int:
    logged = logged_attempts(directory)
    known: set[int] = set()
    if logged:
        with database.read() as session:
            known = retention.known_attempts(session, min(logged), max(logged))
    orphans = [path for number, paths in logged.items() if number not in known for path in paths]
    return remove_logs(orphans)


@dataclass
class LogSweep:
    """The rounds of one worker of each machine; `turn` is called again and again and never takes long."""

    database: Database
    log_dir: Path
    _directories: Iterator[int] | None = None
    _next_at: float = field(default_factory=since_boot)

    def turn(self) -> int:
        """Look through one directory of a thousand attempts; returns how many files were removed.

        Raises:
            StoreError: the database cannot be used now; this pass ends, the next one comes in its time.
        """
        if self._directories is None:
            if since_boot() < self._next_at:
                return 0
            self._next_at = since_boot() + PASS_EVERY_S
            self._directories = sweep(self.database, self.log_dir)
        removed = next(self._directories, None)
        if removed is None:
            self._directories = None
        return removed or 0
