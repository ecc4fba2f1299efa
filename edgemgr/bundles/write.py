"""The writer: payload, record and keys in, one file out. The same input gives the same bytes.

Ed25519 signatures are deterministic (RFC 8032, 5.1.6), JSON is sorted, tar headers hold no time and no owner.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from edgemgr.bundles import faults, ustar
from edgemgr.bundles.content import Target
from edgemgr.bundles.documents import Document, write_document
from edgemgr.bundles.keys import SPEC_VERSION, ReleaseSigner
from edgemgr.bundles.layout import OCI_LAYOUT, index_of
from edgemgr.bundles.names import (
    CAPS,
    INDEX_MEMBER,
    LAYOUT_MEMBER,
    MAGIC,
    MAGIC_MEMBER,
    SNAPSHOT_MEMBER,
    TARGETS_MEMBER,
    TIMESTAMP_MEMBER,
    blob_member,
    root_member,
)
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.signed_targets import RELEASE_FIELD, blobs_of, target_fault
from edgemgr.bundles.whole_file import sync_directory
from edgemgr.model.content import ReleaseRecord

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """A bundle file that was written: its size in bytes and its SHA-256."""

    size_bytes: int
    digest: str


def write_bundle(
    target: Path,
    payload: Sequence[Payload],
    release: ReleaseRecord,
    signer: ReleaseSigner,
    *,
    expires_at: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write a bundle; a file of that name is replaced only when the new one is whole and on disk.

    Args:
        target: the file to write; by custom it ends in `.emb`.
        payload: what goes in; none at all makes a bundle that only carries roots.
        release: the record on its front.
        signer: from `load_signer`.
        expires_at: the last moment at which an appliance takes it without asking.
        on_progress: is told the bytes done and the bytes in all.

    Raises:
        BundleError: the input makes no bundle (E-BUNDLE-INPUT, E-B060), a file is not what the payload says
            (E-B011), there is no room (E-B060), or something cannot be read or written (E-BUNDLE-FILE).
    """
    targets = _targets(payload)
    members = _members(targets, release, signer, expires_at)
    blobs_at = sum(ustar.BLOCK_BYTES + ustar.padded(len(data)) for _, data in members)
    blobs = blobs_of(targets, blobs_at)
    total = blobs_at + sum(ustar.BLOCK_BYTES + ustar.padded(s) for s in blobs.values()) + len(ustar.TRAILER)
    paths = {item.digest: item.path for item in payload}
    aside = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        free = shutil.disk_usage(target.parent).free
        if total > free:
            raise faults.no_room(total, free, str(target.parent))
        with aside.open("xb") as file:
            out = _Out(file, total, on_progress)
            for name, data in members:
                out.member(name, data)
            for digest, size in blobs.items():
                out.blob(digest, size, paths[digest])
            out.write(ustar.TRAILER)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
        sync_directory(target.parent)
    except OSError as exc:
        raise faults.unusable_file(str(exc.filename or target), exc.strerror or str(exc)) from exc
    finally:
        aside.unlink(missing_ok=True)
    return Written(total, out.digest.hexdigest())


class _Out:
    """The file that is written, its digest and its progress."""

    def __init__(self, file: BinaryIO, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.digest = hashlib.sha256()
        self._file, self._total, self._on_progress, self._done = file, total, on_progress, 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self._done += len(data)
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)

    def member(self, name: str, data: bytes) -> None:
        self.write(ustar.header(name, len(data)) + data.ljust(ustar.padded(len(data)), b"\0"))

    def blob(self, digest: str, size: int, path: Path) -> None:
        self.write(ustar.header(blob_member(digest), size))
        found, done = hashlib.sha256(), 0
        with path.open("rb") as file:
            while block := file.read(min(_READ_BYTES, size + 1 - done)):
                found.update(block)
                done += len(block)
                if done > size:
                    break
                self.write(block)
        if done != size or found.hexdigest() != digest:
            raise faults.blob_damaged(digest, str(path))
        self.write(bytes(ustar.padded(size) - size))


def _targets(payload: Sequence[Payload]) -> list[Target]:
    targets = sorted((Target(p.name, p.digest, p.size_bytes, p.custom) for p in payload), key=lambda t: t.name)
    for before, target in zip([None, *targets], targets, strict=False):
        fault = target_fault(target) or ("it comes twice" if before and before.name == target.name else "")
        if fault:
            raise faults.bad_input(target.name, fault)
    if len(targets) > CAPS.targets:
        raise faults.bad_input("the bundle", f"it has {len(targets)} files, at most {CAPS.targets} are accepted")
    return targets


def _members(
    targets: Sequence[Target], release: ReleaseRecord, signer: ReleaseSigner, expires_at: datetime
) -> list[tuple[str, bytes]]:
    if expires_at <= release.created_at:
        raise faults.bad_input("the bundle", "it would expire before it is made")
    number = release.number
    top = Targets(
        version=number,
        spec_version=SPEC_VERSION,
        expires=expires_at,
        targets={t.name: _file(t) for t in targets},
        unrecognized_fields={RELEASE_FIELD: release.model_dump(mode="json", exclude_defaults=True)},
    )
    targets_json = _signed(top, signer, CAPS.targets_json)
    snapshot = Snapshot(
        version=number,
        spec_version=SPEC_VERSION,
        expires=expires_at,
        meta={"targets.json": _meta(number, targets_json)},
    )
    snapshot_json = _signed(snapshot, signer, CAPS.snapshot)
    timestamp = Timestamp(
        version=number, spec_version=SPEC_VERSION, expires=expires_at, snapshot_meta=_meta(number, snapshot_json)
    )
    return [
        (MAGIC_MEMBER, MAGIC),
        *((root_member(version), data) for version, data in enumerate(signer.roots, start=1)),
        (TIMESTAMP_MEMBER, _signed(timestamp, signer, CAPS.timestamp)),
        (SNAPSHOT_MEMBER, snapshot_json),
        (TARGETS_MEMBER, targets_json),
        (LAYOUT_MEMBER, OCI_LAYOUT),
        (INDEX_MEMBER, index_of(targets)),
    ]


def _file(target: Target) -> TargetFile:
    custom = target.custom.model_dump(mode="json", exclude_defaults=True)
    return TargetFile(target.size_bytes, {"sha256": target.digest}, target.name, {"custom": custom})


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def _signed(document: Document, signer: ReleaseSigner, cap: int) -> bytes:
    metadata: Metadata[Document] = Metadata(document)
    metadata.sign(signer.signer)
    data = write_document(metadata)
    if len(data) > cap:
        raise faults.bad_input(f"the signed {document.type}", f"it has {len(data)} bytes, at most {cap} are accepted")
    return data
