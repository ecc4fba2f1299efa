"""Backups of sites that were removed: kept apart, so that no new site of the same name ever takes them up.

A store says whose it is, in the file `owner`: a site, told from a later one of its name by the moment at which it was
made. The store of a site that is gone moves to `.removed/MOMENT/NAME`, with its key, and goes when its time is over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgemgr.bundles.whole_file import sync_directory
from edgemgr.inventory.backup_faults import BackupStoreError, unusable
from edgemgr.inventory.backup_store import locked, open_store
from edgemgr.model.timestamp import utc_now
from edgemgr.store import backups
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

_REMOVED = ".removed"  #: no site can have this name
_OWNER = "owner"
_MOMENT = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class RemovedStore:
    """The backups of one site that is gone."""

    site: str
    removed_at: datetime
    directory: Path  #: that `open_store` takes with the site's name


@dataclass(frozen=True)
class RemovedBackup:
    """One of them."""

    site: str
    removed_at: datetime
    taken_at: datetime  #: by the node's clock
    k3s_version: str
    size_bytes: int
    digest: str
    place: str  #: the directory of the whole store


def claim(directory: Path, site: str, owner: str) -> None:
    """Make the store of a site this one's; another's of the same name is set aside first.

    Raises:
        BackupStoreError: another process has it (E-BACKUP-STORE-BUSY), or the disk refuses (E-BACKUP-STORE-IO).
    """
    while True:
        with locked(directory, site) as place:
            if _stays(place, owner):
                _write_owner(place, owner)
                return
            _set_aside(directory, place)


def set_aside_removed(database: Database, directory: Path, names: Collection[str] | None = None) -> list[str]:
    """Set the stores aside whose site is gone, or is another one of that name; of these names, or all. Gives the names.

    One that another process has is left for the next time.

    Raises:
        BackupStoreError: the disk refuses (E-BACKUP-STORE-IO).
        StoreError: the database cannot be used.
    """
    there = {path.name for path in _directories(directory)} - {_REMOVED}
    there &= there if names is None else set(names)
    if not there:
        return []
    with database.read() as session:
        owners = backups.owners(session, there)
    found = []
    for name in sorted(name for name in there if not _stays(directory / name, owners.get(name))):
        try:
            with locked(directory, name) as place, database.read() as session:
                # Asked anew, now that nobody can claim it.
                if not _stays(place, backups.owners(session, [name]).get(name)):
                    _set_aside(directory, place)
                    found.append(name)
        except BackupStoreError as exc:
            if exc.code != "E-BACKUP-STORE-BUSY":
                raise
    return found


def removed_stores(directory: Path) -> list[RemovedStore]:
    """The stores that were set aside, the oldest first."""
    found = []
    for moment in sorted(_directories(directory / _REMOVED)):
        try:
            removed_at = datetime.strptime(moment.name, _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            continue  # somebody else's
        found += [RemovedStore(place.name, removed_at, moment) for place in sorted(_directories(moment))]
    return found


def removed_backups(store: RemovedStore, vault: Vault) -> Iterator[RemovedBackup]:
    """What one of them holds.

    Raises:
        BackupStoreError: it cannot be read.
        VaultError: its key cannot be opened.
    """
    with open_store(store.directory, vault, store.site) as opened:
        for digest in opened.roots():
            manifest = opened.manifest(digest)
            yield RemovedBackup(
                site=store.site,
                removed_at=store.removed_at,
                taken_at=manifest.taken_at,
                k3s_version=manifest.k3s_version,
                size_bytes=manifest.size_bytes,
                digest=digest,
                place=str(store.directory / store.site),
            )


def drop_expired(directory: Path, max_age: timedelta, now: datetime, *, dry_run: bool = False) -> list[RemovedStore]:
    """Remove the stores that were set aside longer ago than that; gives those that went, or would go.

    Raises:
        BackupStoreError: the disk refuses (E-BACKUP-STORE-IO).
    """
    gone = [store for store in removed_stores(directory) if now - store.removed_at > max_age]
    for store in [] if dry_run else gone:
        try:
            shutil.rmtree(store.directory / store.site)
            if not any(store.directory.iterdir()):
                store.directory.rmdir()
        except OSError as exc:
            raise unusable(store.site, exc) from exc
    return gone


def _set_aside(directory: Path, place: Path) -> None:
    """Move a store; the lock is held on a file within, and goes with it."""
    moment = directory / _REMOVED / utc_now().strftime(_MOMENT)
    moment.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.rename(moment / place.name)
    for each in (moment, directory):
        sync_directory(each)


def _owner(place: Path) -> str:
    """Whose a store is; empty where nobody has said so yet."""
    try:
        return (place / _OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _write_owner(place: Path, owner: str) -> None:
    if _owner(place) == owner:
        return
    new = place / f".{_OWNER}"
    with new.open("w", encoding="utf-8") as file:
        file.write(owner)
        file.flush()
        os.fsync(file.fileno())
    new.rename(place / _OWNER)
    sync_directory(place)


def _stays(place: Path, owner: str | None) -> bool:
    """Whether a store is that of the site which has its name now. One that nobody has claimed yet is."""
    return owner is not None and _owner(place) in ("", owner)


def _directories(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []
