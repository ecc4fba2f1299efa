"""Rehearsing a restore on the appliance: a backup is opened and read to the last byte, and then started if asked."""

from __future__ import annotations

import hashlib
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from cryptography import x509

from edgemgr.errors import EdgemgrError
from edgemgr.inventory.backup_shelf import private_directory
from edgemgr.inventory.backup_store import open_store
from edgemgr.inventory.rehearsal_faults import RehearsalError
from edgemgr.inventory.rehearsal_verdict import Started
from edgemgr.model.backup_manifest import BackupManifest
from edgemgr.settings import Settings
from edgemgr.vault.vault import Vault

#: Without these a restore brings up no cluster; the same as in the collection (module_utils/backup_files.py).
_NEEDED = ("server/token", "server/tls/server-ca.crt", "server/tls/server-ca.key")
_HASH_BYTES = 32  #: at the end of a snapshot of etcd

#: Starts the backup of a site whose parts lie in a directory; `rehearsal_start.Starter` is one.
Start = Callable[[str, BackupManifest, Path], Started]


@dataclass(frozen=True)
class Rehearsal:
    """What became of one backup."""

    site: str
    id: int
    is_sound: bool
    faults: tuple[str, ...]  #: a sentence each
    files: int  #: that were hashed, without the datastore
    objects: int  #: names in the datastore; 0 for etcd, which only etcd can read
    took_s: float
    starts: bool | None = None  #: whether k3s starts on it; None where that was not tried
    start_s: float | None = None  #: until its API was ready
    listed: dict[str, int] = field(default_factory=dict)  #: kind → how many of it the API listed
    code: str = ""  #: of the reason why it was not started, or does not start
    hint: str = ""
    log: tuple[str, ...] = ()  #: the last lines of a k3s that did not start, without secrets

    @property
    def is_proven(self) -> bool:
        """Whether k3s was seen to start on it."""
        return self.is_sound and self.starts is True


def rehearse(
    settings: Settings, vault: Vault, site: str, backup_id: int, digest: str, *, start: Start | None = None
) -> Rehearsal:
    """Decrypt and hash every block of a backup, open its datastore, read its manifests; start it if it is sound.

    Args:
        settings: where things lie.
        vault: opens the key of the site's backups.
        site: whose backup it is.
        backup_id: its number on this appliance.
        digest: SHA-256 of its manifest.
        start: starts it; None checks alone.

    Raises:
        BackupStoreError: the store is in use, or this appliance's disk refuses.
        VaultError: its key cannot be opened.
    """
    began_at = time.monotonic()
    files = objects = 0
    verdict: Started | RehearsalError | None = None
    try:
        with private_directory(settings, site) as place:
            with open_store(settings.backup_dir, vault, site) as store:
                manifest = store.manifest(digest)
                store.verify(digest)
                for part in manifest.parts:
                    store.write_part(digest, part.name, place / part.name)
            if manifest.datastore == "sqlite":
                objects, faults = _read_sqlite(place / "state.db", manifest)
            else:
                faults = _read_etcd(place / "etcd.snapshot")
            files, more = _read_files(place / "files.tar", manifest)
            faults += more
            if start is not None and not faults:
                verdict = _started(start, site, manifest, place)
    except EdgemgrError as exc:
        if exc.code not in ("E-BACKUP-STORE-DAMAGED", "E-BACKUP-UNKNOWN"):
            raise
        faults = [exc.message]
    took_s = round(time.monotonic() - began_at, 2)
    return _with(verdict, Rehearsal(site, backup_id, not faults, tuple(faults), files, objects, took_s))


def _started(start: Start, site: str, manifest: BackupManifest, place: Path) -> Started | RehearsalError:
    try:
        return start(site, manifest, place)
    except RehearsalError as exc:
        return exc


def _with(verdict: Started | RehearsalError | None, found: Rehearsal) -> Rehearsal:
    if isinstance(verdict, Started):
        return replace(found, starts=True, start_s=verdict.seconds, listed=verdict.listed)
    if verdict is None:
        return found
    return replace(
        found,
        faults=(verdict.message,),
        starts=False if verdict.was_started else None,
        code=verdict.code,
        hint=verdict.hint,
        log=verdict.log,
    )


def _read_sqlite(path: Path, manifest: BackupManifest) -> tuple[int, list[str]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
            (revision,) = database.execute("SELECT coalesce(max(id), 0) FROM kine").fetchone()
            (objects,) = database.execute("SELECT count(DISTINCT name) FROM kine").fetchone()
    except sqlite3.Error as exc:
        return 0, [f"SQLite cannot read state.db: {exc}"]
    faults = [] if said == ["ok"] else [f"SQLite finds state.db damaged: {'; '.join(said)}"]
    if manifest.revision is not None and revision != manifest.revision:
        faults.append(f"state.db ends with change {revision}, not with {manifest.revision} as its manifest says")
    return int(objects), faults


def _read_etcd(path: Path) -> list[str]:
    """A snapshot ends in the SHA-256 of what precedes it (etcd docs, op-guide/recovery)."""
    digest, left = hashlib.sha256(), path.stat().st_size - _HASH_BYTES
    with path.open("rb") as file:
        while left > 0 and (data := file.read(min(1 << 20, left))):
            digest.update(data)
            left -= len(data)
        is_whole = file.read() == digest.digest()
    return [] if is_whole else ["the hash at the end of etcd.snapshot is not that of its content"]


def _read_files(path: Path, manifest: BackupManifest) -> tuple[int, list[str]]:
    told = {each.name: each.sha256 for each in manifest.files}
    found: dict[str, bytes] = {}
    faults = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    found[member.name] = file.read()
    except (tarfile.TarError, OSError) as exc:
        return len(found), [f"files.tar cannot be read: {exc}"]
    wrong = [name for name, sha256 in told.items() if hashlib.sha256(found.get(name, b"")).hexdigest() != sha256]
    if wrong or set(found) - set(told):
        faults.append(f"files.tar does not hold what its manifest says: {', '.join(sorted(wrong)[:3]) or 'more'}")
    missing = [name for name in _NEEDED if not found.get(name)]
    if missing:
        faults.append(f"{', '.join(missing)} is missing, without which no cluster comes up")
    return len(found), faults + list(_unreadable(found))


def _unreadable(files: dict[str, bytes]) -> Iterator[str]:
    """Files that k3s could not read either."""
    for name, content in sorted(files.items()):
        try:
            if name.endswith((".yaml", ".yml")) and name.startswith(("server/manifests/", "config/")):
                list(yaml.safe_load_all(content))
            elif name == "server/tls/server-ca.crt":
                x509.load_pem_x509_certificate(content)
        except (yaml.YAMLError, ValueError) as exc:
            yield f"{name} cannot be read: {str(exc).splitlines()[0][:200]}"
