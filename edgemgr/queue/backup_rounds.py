"""Backups that nobody has to ask for: each site with k3s has one asked for once in an interval, a few at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from edgemgr.model.operation import OperationKind, Priority
from edgemgr.operations.submit import submit
from edgemgr.settings import Settings
from edgemgr.store import backups
from edgemgr.store.database import Database

#: At most so many are asked for in a round, so that a fleet spreads by itself: 10,000 sites in a good three hours.
LIMIT = 50
ROUND_S = 60.0
#: A site that was just added is being set up: its first one is asked for later.
FIRST_AFTER_S = 3600.0


def ask_for_backups(database: Database, settings: Settings, now: datetime) -> int:
    """Queue a backup for sites that answer and whose last one was asked for an interval ago; returns how many.

    One that failed is not asked for sooner: it was tried several times, and `edgemgr expiry` shows the site.

    Raises:
        StoreError: the database cannot be used.
    """
    if not settings.backup_interval_s:
        return 0
    before = now - timedelta(seconds=settings.backup_interval_s)
    added = now - timedelta(seconds=min(FIRST_AFTER_S, settings.backup_interval_s))
    with database.read() as session:
        due = backups.due_sites(session, before, added_before=added, limit=LIMIT)
    if due:
        with database.write() as session:
            submit(session, OperationKind.BACKUP, {}, due, actor="schedule", priority=Priority.BACKGROUND, now=now)
    return len(due)
