"""The streaming reader: the members of a bundle in their fixed order, nothing else, every byte accounted for.

It never unpacks anything to a path of the archive's choosing, and uses no general archive library: such libraries
take links, duplicates and second names for good (CVE-2025-4517 and its like).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgemgr.bundles import faults, ustar
from edgemgr.bundles.content import Content
from edgemgr.bundles.describe import label_of
from edgemgr.bundles.layout import OCI_LAYOUT
from edgemgr.bundles.names import (
    CAPS,
    FORMAT,
    FORMAT_VERSION,
    INDEX_MEMBER,
    LAYOUT_MEMBER,
    MAGIC,
    MAGIC_MEMBER,
    SNAPSHOT_MEMBER,
    TARGETS_MEMBER,
    TIMESTAMP_MEMBER,
    blob_member,
)
from edgemgr.bundles.source import Source

_READ_BYTES = 1 << 20
_ROOT_MEMBER = re.compile(r"tuf/([1-9][0-9]{0,8})\.root\.json", re.ASCII)


@dataclass(frozen=True)
class Head:
    """Everything before the blobs, as it lies in the file: nothing of it is verified yet."""

    source_name: str
    roots: tuple[tuple[int, bytes], ...]  #: version and bytes, ascending without a gap
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    oci_layout: bytes
    index: bytes
    blobs_at: int  #: offset of the first blob's header
    size_bytes: int  #: of the whole file as it is


class BlobStream:
    """One blob. What a caller does not read of it is read and checked when the next one is asked for."""

    def __init__(self, source: Source, digest: str, size_bytes: int, label: str) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._source = source
        self._label = label
        self._chunks = self._read()

    def chunks(self) -> Iterator[bytes]:
        """The blob's bytes, at most 1 MiB at a time; take them as good only when the iteration has ended.

        Raises:
            BundleError: at the end, when the digest is another one (E-B011); the file ends early (E-B010).
        """
        return self._chunks

    def _read(self) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), self.size_bytes
        while left:
            block = _exactly(self._source, min(left, _READ_BYTES))
            digest.update(block)
            left -= len(block)
            yield block
        if digest.hexdigest() != self.digest:
            raise faults.blob_damaged(self.digest, self._label)


def read_head(source: Source) -> Head:
    """Read everything before the blobs. Checks structure and sizes; no signature and no digest.

    Raises:
        BundleError: no bundle (E-B001), a later format (E-B002), cut off (E-B010), a chain of roots with a gap
            (E-B021), or anything that does not belong there (E-B070).
    """
    source.seek(0)
    _read_magic(source)
    roots, block = _read_roots(source)
    timestamp = _member(source, block, TIMESTAMP_MEMBER, CAPS.timestamp)
    snapshot = _member(source, _header(source), SNAPSHOT_MEMBER, CAPS.snapshot)
    targets = _member(source, _header(source), TARGETS_MEMBER, CAPS.targets_json)
    oci_layout = _member(source, _header(source), LAYOUT_MEMBER, len(OCI_LAYOUT))
    index = _member(source, _header(source), INDEX_MEMBER, CAPS.index)
    return Head(source.name, roots, timestamp, snapshot, targets, oci_layout, index, source.tell(), source.size_bytes)


def read_blobs(source: Source, head: Head, content: Content) -> Iterator[BlobStream]:
    """Walk over the blobs and on to the last byte of the file; go to the end of the iteration to know all is well.

    Raises:
        BundleError: a blob is damaged (E-B011), the file ends early (E-B010), or has something that the signed
            metadata does not name (E-B070).
    """
    expected = bundle_size(head.blobs_at, content)
    if source.size_bytes < expected:
        raise faults.truncated(source.size_bytes, expected)
    labels = {target.digest: label_of(target) for target in content.targets.values()}
    source.seek(head.blobs_at)
    for digest, size in content.blobs.items():
        _expect_header(_exactly(source, ustar.BLOCK_BYTES), blob_member(digest), size)
        blob = BlobStream(source, digest, size, labels[digest])
        yield blob
        for _ in blob.chunks():
            pass
        _read_padding(source, size, blob_member(digest))
    _read_end(source)


def bundle_size(blobs_at: int, content: Content) -> int:
    """The size in bytes of a bundle file whose blobs begin at this offset."""
    blobs = sum(ustar.BLOCK_BYTES + ustar.padded(size) for size in content.blobs.values())
    return blobs_at + blobs + len(ustar.TRAILER)


def _read_magic(source: Source) -> None:
    """The first kilobyte is the same in every bundle of this format; only a file that is cut within it is short."""
    expected = ustar.header(MAGIC_MEMBER, len(MAGIC)) + MAGIC.ljust(ustar.BLOCK_BYTES, b"\0")
    found = source.read(len(expected))
    if found == expected:
        return
    if expected.startswith(found):
        raise faults.truncated(len(found), len(expected), at_least=True)
    size = ustar.size_of(found[: ustar.BLOCK_BYTES])
    if found[:100] != expected[:100] or size is None or size > CAPS.magic:
        raise faults.not_a_bundle(source.name)
    source.seek(ustar.BLOCK_BYTES)
    version = _version_in(source.read(size))
    if version is not None and version > FORMAT_VERSION:
        raise faults.newer_format(version, FORMAT_VERSION)
    raise faults.not_a_bundle(source.name)


def _version_in(data: bytes) -> int | None:
    try:
        says = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(says, dict) or says.get("format") != FORMAT:
        return None
    version = says.get("version")
    return version if type(version) is int and version < 10**6 else None


def _read_roots(source: Source) -> tuple[tuple[tuple[int, bytes], ...], bytes]:
    """The chain of roots, and the header block after it."""
    roots: list[tuple[int, bytes]] = []
    while True:
        block = _header(source)
        name = ustar.name_of(block)
        match = _ROOT_MEMBER.fullmatch(name)
        if match is None and roots:
            return tuple(roots), block
        if match is None or len(roots) == CAPS.root_chain:
            why = ustar.fault_of(block) if match is None else f"a chain has at most {CAPS.root_chain} roots"
            raise faults.forbidden(name, why)
        data, version = _member(source, block, name, CAPS.root), int(match[1])
        if roots and version <= roots[-1][0]:
            raise faults.forbidden(name, "roots come once each, in ascending order")
        if roots and version != roots[-1][0] + 1:
            raise faults.chain_gap(roots[-1][0], version)
        roots.append((version, data))


def _member(source: Source, block: bytes, name: str, cap: int) -> bytes:
    size = ustar.size_of(block)
    if ustar.name_of(block) == name and size is not None and size > cap:
        raise faults.forbidden(name, f"it claims {size} bytes, at most {cap} are accepted")
    _expect_header(block, name, size or 0)
    data = _exactly(source, size or 0)
    _read_padding(source, len(data), name)
    return data


def _header(source: Source) -> bytes:
    return _exactly(source, ustar.BLOCK_BYTES)


def _expect_header(block: bytes, name: str, size: int) -> None:
    if block == ustar.header(name, size):
        return
    if block == bytes(ustar.BLOCK_BYTES):
        raise faults.forbidden(name, "it is missing")
    found = ustar.name_of(block)
    why = ustar.fault_of(block)
    if found == name:
        why = f"its header is not that of a plain file of {size} bytes"
    raise faults.forbidden(found, why)


def _exactly(source: Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise faults.truncated(source.tell(), source.tell() - len(data) + size + len(ustar.TRAILER), at_least=True)
    return data


def _read_padding(source: Source, size: int, name: str) -> None:
    if any(_exactly(source, ustar.padded(size) - size)):
        raise faults.forbidden(name, "the space after it is not empty")


def _read_end(source: Source) -> None:
    block = _exactly(source, ustar.BLOCK_BYTES)
    if any(block):
        raise faults.forbidden(ustar.name_of(block), ustar.fault_of(block))
    if any(_exactly(source, ustar.BLOCK_BYTES)) or source.read(1):
        raise faults.forbidden("end of the archive", "something follows it")
