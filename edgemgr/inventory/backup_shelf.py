"""Where backups are kept on this appliance, and for how long: from its settings."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from edgemgr.inventory.backup_faults import unusable
from edgemgr.inventory.backup_pull import Shelf
from edgemgr.model.backup_retention import Retention
from edgemgr.settings import Settings
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

_PREFIX = "backup-"


def shelf_of(database: Database, vault: Vault, settings: Settings) -> Shelf:
    """The stores of all sites."""
    return Shelf(database, vault, settings.backup_dir)


def rule_of(settings: Settings) -> Retention:
    """How many are kept for how long.

    Raises:
        UsageError: the settings contradict each other (E-BACKUP-RETENTION).
    """
    return Retention(settings.backup_at_least, settings.backup_at_most, timedelta(seconds=settings.backup_max_age_s))


@contextmanager
def private_directory(settings: Settings, site: str) -> Iterator[Path]:
    """A directory for what is decrypted, gone afterwards; in `runtime_dir`, which is best in memory.

    What killed processes have left there goes too: a living one holds a lock on its own.

    Raises:
        BackupStoreError: it cannot be made or filled (E-BACKUP-STORE-IO).
    """
    try:
        settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(settings.runtime_dir)
        with TemporaryDirectory(prefix=f"{_PREFIX}{site}-", dir=settings.runtime_dir) as name:
            lock = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield Path(name)
            finally:
                os.close(lock)
    except OSError as exc:
        raise unusable(site, exc) from exc


def _sweep(directory: Path) -> None:
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
