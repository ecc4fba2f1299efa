"""A backup that a site took → the appliance's store, whole and read back; then the older ones by the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edgemgr.inventory.backup_faults import BackupStoreError
from edgemgr.inventory.backup_removed import claim
from edgemgr.inventory.backup_store import BackupStore, open_store
from edgemgr.links.backup_pull import Pulled
from edgemgr.model.backup import Backup
from edgemgr.model.backup_retention import Aged, Retention, removable
from edgemgr.model.timestamp import utc_now
from edgemgr.store import backups
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

#: How often a pull is begun anew after blocks of older backups turned out to be damaged here.
_ROUNDS = 3


@dataclass(frozen=True)
class Shelf:
    """Where backups are kept and noted."""

    database: Database
    vault: Vault
    directory: Path  #: of all sites' stores


@dataclass(frozen=True)
class Kept:
    """What a pull came to."""

    pulled: Pulled
    digest: str = ""  #: empty: it was stopped, and goes on where it was
    added_bytes: int = 0  #: by which the site's store grew
    removed: list[int] = field(default_factory=list)  #: attempts whose backups went
    damaged: list[str] = field(default_factory=list)  #: segments of the store that were damaged, and set aside


def keep_backup(
    shelf: Shelf,
    site_id: int,
    site: str,
    pull: Callable[[BackupStore], Pulled],
    *,
    rule: Retention,
    clock: Callable[[], datetime] = utc_now,
) -> Kept:
    """Take a backup in by `pull`, which is `links.backup_pull.pull_blocks` for a connection, and apply the rule.

    A backup is noted only after every block of it was read back from this appliance's disk. Blocks of older backups
    that turn out to be damaged then are brought anew.

    Raises:
        SiteError: see `pull_blocks`; what came until then is kept for the next try.
        BackupStoreError: the store is in use, damaged or full.
        VaultError: its key cannot be opened.
        StoreError: the database cannot be used.
    """
    _claim(shelf, site)
    with open_store(shelf.directory, shelf.vault, site) as store:
        before = store.stored_bytes
        for rounds_left in reversed(range(_ROUNDS)):
            try:
                pulled = pull(store)
                if pulled.stop is not None:
                    return Kept(pulled, damaged=store.set_aside)
                digest = store.commit(pulled.manifest)
            except BackupStoreError:
                if rounds_left == 0:
                    raise
            else:
                break
        added = store.stored_bytes - before
        _note(shelf.database, store, site_id, {digest: added}, clock())
        removed = _apply(shelf.database, store, site_id, rule, clock())
        return Kept(pulled, digest, added, removed, store.set_aside)


def prune(
    shelf: Shelf, site_id: int, site: str, rule: Retention, *, clock: Callable[[], datetime] = utc_now
) -> list[int]:
    """Remove what the rule lets go; returns the attempts whose backups went.

    Raises:
        As `keep_backup`.
    """
    _claim(shelf, site)
    with open_store(shelf.directory, shelf.vault, site) as store:
        _note(shelf.database, store, site_id, {}, clock())
        return _apply(shelf.database, store, site_id, rule, clock())


def would_go(database: Database, site_id: int, rule: Retention, now: datetime) -> list[int]:
    """The attempts of the backups that the rule lets go now, oldest first."""
    with database.read() as session:
        rows = backups.of_site(session, site_id)
    return removable([Aged(row.attempt, row.pulled_at, row.is_held) for row in rows], rule, now)


def _claim(shelf: Shelf, site: str) -> None:
    """What an earlier site of that name has left is not this one's."""
    with shelf.database.read() as session:
        owner = backups.owners(session, [site]).get(site)
    if owner is not None:  # it may be removed at this moment; then there is nothing to note either
        claim(shelf.directory, site, owner)


def _note(database: Database, store: BackupStore, site_id: int, added: dict[str, int], now: datetime) -> None:
    """Note every backup of the store that is not: the new one, and any whose note a kill or a restore has lost."""
    with database.write() as session:
        rows = backups.of_site(session, site_id)
        noted, attempts = {each.digest for each in rows}, {each.attempt for each in rows}
        for digest in store.roots():
            manifest = None if digest in noted else store.manifest(digest)
            if manifest is not None and manifest.attempt not in attempts:
                attempts.add(manifest.attempt)
                row = Backup(
                    site_id=site_id,
                    attempt=manifest.attempt,
                    digest=digest,
                    taken_at=manifest.taken_at,
                    pulled_at=now,
                    k3s_version=manifest.k3s_version,
                    datastore=manifest.datastore,
                    size_bytes=manifest.size_bytes,
                    token=manifest.token,
                    added_bytes=added.get(digest, 0),
                )
                backups.add(session, row)


def _apply(database: Database, store: BackupStore, site_id: int, rule: Retention, now: datetime) -> list[int]:
    gone = would_go(database, site_id, rule, now)
    if gone:
        with database.read() as session:
            rows = backups.of_site(session, site_id)
        # Bytes first: cut off in between, the same ones go again.
        store.remove([row.digest for row in rows if row.attempt in gone])
        with database.write() as session:
            backups.drop(session, site_id, gone)
    return gone
