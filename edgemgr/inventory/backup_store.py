"""The backups of one site on the appliance: encrypted, content-addressed, every block of 4 KiB kept once.

A backup is a manifest; it names block lists, those name blocks (model/backup_manifest.py). Lists and blocks lie in
segments under their SHA-256, so that a backup costs the blocks that changed since any older one, and the lists that
name them. Blocks are pages at fixed places because that is how SQLite changes: of ten backups of a datastore of 6.1 MB,
with 150 changed objects in between, each later one added 1.2 MB in blocks of 4 KiB, 3.4 MB in blocks of 16 KiB, 6.1 MB
in blocks of 64 KiB, and 4.8 MB in pieces cut by content, 8 KiB in the mean.

The directory holds everything but the vault's key: `key`, `segments/`, and `roots/`, the sealed manifests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgemgr.bundles.whole_file import sync_directory
from edgemgr.inventory.backup_faults import BackupStoreError, busy, damaged, unknown, unusable
from edgemgr.inventory.backup_segments import DamagedSegmentError, Segments
from edgemgr.inventory.content_store import directory_bytes
from edgemgr.model.backup_manifest import BLOCK_BYTES, BackupManifest, entries, read_manifest
from edgemgr.vault.data_key import DataKey
from edgemgr.vault.vault import Vault

#: So many bytes of blocks make a segment; a cut costs no more than these, and they are kept where it can be helped.
SEGMENT_BYTES = 1 << 20
#: What nothing refers to is kept so long, seconds: it may be the beginning of a backup whose pull was cut off.
_YOUNG_S = 86_400.0
#: A segment of which less is still of use is written anew with that alone, so that no more than a third is wasted.
_WORTH_KEEPING = 0.75


@contextmanager
def open_store(directory: Path, vault: Vault, site: str) -> Iterator[BackupStore]:
    """Open the store of a site below `directory`, alone; it is made at first use.

    Raises:
        BackupStoreError: another process has it (E-BACKUP-STORE-BUSY), or the disk refuses (E-BACKUP-STORE-IO), here
            and while it is open.
        VaultError: its key cannot be opened.
    """
    with locked(directory, site) as place:
        store = BackupStore(place, DataKey.open(vault, place / "key", f"backup|{site}"), site)
        try:
            yield store
        finally:
            store.flush()


@contextmanager
def locked(directory: Path, site: str) -> Iterator[Path]:
    """The directory of a site's store, made at first use, for one process alone.

    Raises:
        BackupStoreError: as `open_store`.
    """
    place = directory / site
    try:
        for each in (place / "segments", place / "roots"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise unusable(site, exc) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise busy(site) from exc
        yield place
    except OSError as exc:
        raise unusable(site, exc) from exc
    finally:
        os.close(lock)


class BackupStore:
    """One site's backups; made by `open_store`."""

    def __init__(self, place: Path, key: DataKey, site: str) -> None:
        self._place = place
        self._key = key
        self._site = site
        self._segments = Segments(place / "segments", key)
        self._segments.drop_temporary()
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._where: dict[bytes, str] = {}  # digest → segment
        #: Segments that were found damaged since the store was opened, and set aside.
        self.set_aside: list[str] = []
        for name in self._segments.names():
            try:
                self._where.update(dict.fromkeys(self._segments.head(name), name))
            except DamagedSegmentError:
                self._put_aside(name)

    def missing(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those that the store does not hold, each once, in order."""
        return [d for d in dict.fromkeys(digests) if d not in self._where and d not in self._pending]

    def put(self, data: bytes) -> bytes:
        """Keep a block or a list; returns its digest. On the disk after the next `flush`, which comes by itself."""
        digest = hashlib.sha256(data).digest()
        if self.missing([digest]):
            self._keep(digest, data)
        return digest

    def flush(self) -> None:
        """Bring to the disk what was put."""
        if self._pending:
            name = self._segments.write(self._pending)
            self._where.update(dict.fromkeys(self._pending, name))
            self._pending, self._pending_bytes = {}, 0

    def fetch(self, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """The content of blocks or lists, each hashed again.

        Raises:
            BackupStoreError: some are not here, or damaged (E-BACKUP-STORE-DAMAGED).
        """
        return dict(self._read(set(digests)))

    def commit(self, manifest: bytes) -> str:
        """Make a backup of what was put: read every block of it back from the disk, then name it. Gives its digest.

        Raises:
            BackupStoreError: something of it is missing or damaged (E-BACKUP-STORE-DAMAGED); what is damaged is no
                longer held, so that it can be put anew.
        """
        self.flush()
        self._verify(read_manifest(manifest))
        digest = hashlib.sha256(manifest).hexdigest()
        path = self._place / "roots" / digest
        new = path.with_name(f".new-{digest}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - an open descriptor
            file.write(self._key.seal(manifest, what=b"root|" + digest.encode()))
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
        sync_directory(path.parent)
        return digest

    def roots(self) -> list[str]:
        """The digests of all backups that are here."""
        return sorted(path.name for path in (self._place / "roots").iterdir() if not path.name.startswith("."))

    def manifest(self, digest: str) -> BackupManifest:
        """What a backup says of itself.

        Raises:
            BackupStoreError: there is no such backup (E-BACKUP-UNKNOWN), or it is damaged (E-BACKUP-STORE-DAMAGED).
        """
        return read_manifest(self.manifest_text(digest))

    def manifest_text(self, digest: str) -> bytes:
        """The same, as the node has written it.

        Raises:
            As `manifest`.
        """
        try:
            sealed = (self._place / "roots" / digest).read_bytes()
        except FileNotFoundError as exc:
            raise unknown(self._site, digest) from exc
        try:
            text = self._key.open_sealed(sealed, what=b"root|" + digest.encode())
            read_manifest(text)
        except ValueError as exc:
            raise damaged(self._site, f"its manifest: {exc}") from exc
        return text

    def verify(self, digest: str) -> None:
        """Read every block of a backup back; raises as `commit` and `manifest`."""
        self._verify(self.manifest(digest))

    def write_part(self, digest: str, name: str, target: Path) -> None:
        """Put a part of a backup together as the new file `target`, for its owner alone; there whole or not at all.

        Raises:
            BackupStoreError: as `verify`.
            KeyError: the backup has no part of that name.
        """
        part = self.manifest(digest).part(name)
        lists = self.fetch([bytes.fromhex(each) for each in part.lists])
        places: dict[bytes, list[int]] = {}
        for number, block in enumerate(b for each in part.lists for b in entries(lists[bytes.fromhex(each)])):
            places.setdefault(block, []).append(number * BLOCK_BYTES)
        new = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w+b") as file:  # noqa: PTH123 - an open descriptor
                for block, data in self._read(set(places)):
                    for offset in places[block]:
                        file.seek(offset)
                        file.write(data)
                file.flush()
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                    raise damaged(self._site, f"{name} has another SHA-256 than its manifest says")
                os.fsync(descriptor)
            new.rename(target)
            sync_directory(target.parent)
        finally:
            new.unlink(missing_ok=True)

    def remove(self, digests: Collection[str], *, young_s: float = _YOUNG_S) -> bool:
        """Forget backups, and free what no other one refers to.

        Returns:
            False: nothing was freed, as it cannot be told what the backups that stay refer to; one of them is damaged.
        """
        for digest in digests:
            (self._place / "roots" / digest).unlink(missing_ok=True)
        sync_directory(self._place / "roots")
        try:
            live = self._live()
        except BackupStoreError:
            return False
        self._free(live, young_s)
        return True

    @property
    def stored_bytes(self) -> int:
        """What the store takes on the disk."""
        return directory_bytes(self._place)

    def _keep(self, digest: bytes, data: bytes) -> None:
        self._pending[digest] = data
        self._pending_bytes += len(data)
        if self._pending_bytes >= SEGMENT_BYTES:
            self.flush()

    def _verify(self, manifest: BackupManifest) -> None:
        lists = self.fetch([bytes.fromhex(each) for part in manifest.parts for each in part.lists])
        for part in manifest.parts:
            for number, each in enumerate(part.lists):
                if len(lists[bytes.fromhex(each)]) != part.list_bytes(number):
                    raise damaged(self._site, f"a block list of {part.name} has not the right length")
        for _ in self._read({block for each in lists.values() for block in entries(each)}):
            pass

    def _live(self) -> set[bytes]:
        """The digests of everything that any backup refers to."""
        lists = {
            bytes.fromhex(each) for root in self.roots() for part in self.manifest(root).parts for each in part.lists
        }
        return lists | {block for each in self.fetch(lists).values() for block in entries(each)}

    def _free(self, live: set[bytes], young_s: float) -> None:
        """Remove segments that are of no use, and write anew what is left of those of which much is of none."""
        now = time.time()
        for name in self._segments.names():
            try:
                sizes = self._segments.head(name)
                kept = {d for d in sizes if d in live and self._where.get(d) == name}
                if sum(sizes[d] for d in kept) > _WORTH_KEEPING * sum(sizes.values()):
                    continue
                if not kept and self._segments.age_s(name, now) < young_s:
                    continue
                blocks = {d: data for d, data in self._segments.read(name) if d in kept} if kept else {}
            except DamagedSegmentError:
                self._put_aside(name)
                continue
            for digest, data in blocks.items():
                self._keep(digest, data)
            self.flush()  # before the old one goes
            self._segments.remove(name)
            self._forget(name)

    def _read(self, digests: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
        self.flush()
        by_segment: dict[str, set[bytes]] = {}
        for digest in digests:
            by_segment.setdefault(self._where.get(digest, ""), set()).add(digest)
        faults = [f"{len(by_segment.pop(''))} blocks are not there"] if "" in by_segment else []
        for name, wanted in sorted(by_segment.items()):
            try:
                for digest, data in self._segments.read(name):
                    if digest in wanted:
                        yield digest, data
            except DamagedSegmentError as exc:
                self._put_aside(name)
                faults.append(str(exc))
        if faults:
            raise damaged(self._site, "; ".join(faults[:3]))

    def _put_aside(self, name: str) -> None:
        self._segments.set_aside(name)
        self.set_aside.append(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        for digest in [d for d, where in self._where.items() if where == name]:
            del self._where[digest]
