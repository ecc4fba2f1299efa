"""What of a blob still has to travel, told from what the node holds of it. Pure but for reading the blob's own file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from edgemgr.errors import SiteError

#: What is hashed together, and where a transfer may stop. The same as in the collection (module_utils/layout.py).
CHUNK_BYTES = 4 * 1024 * 1024
#: Within the chunk that a cut has broken the node tells the hash of each block, so that far less than a chunk is lost:
#: half a block at each cut, for at most 128 hashes (9 KB).
BLOCK_BYTES = 32 * 1024


@dataclass(frozen=True)
class Blob:
    """A file of the appliance that a node shall hold under its digest.

    `chunks` are the sha256 of its chunks of 4 MiB in order, as a bundle's signed metadata names them; without them
    they are computed from the file.
    """

    digest: str
    size_bytes: int
    path: Path
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """What a node holds of a blob: whole chunks that are right, then the sha256 of whole blocks after them."""

    chunks: int = 0
    blocks: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Piece:
    """Bytes of a blob that lie within one chunk. `chunk` is the chunk's number."""

    chunk: int
    offset: int
    size_bytes: int


def once_each(blobs: Iterable[Blob]) -> list[Blob]:
    """Leave out blobs that were already named: a layer that images share travels once."""
    return list({blob.digest: blob for blob in blobs}.values())


def chunks_of(blob: Blob) -> tuple[str, ...]:
    """The sha256 of each chunk.

    Raises:
        SiteError: the file cannot be read, or is another one than its digest says (E-ARTIFACT-SOURCE).
    """
    if blob.chunks:
        return blob.chunks
    try:
        found, whole = _hashed(blob.path, blob.path.stat().st_mtime_ns)
    except OSError as exc:
        raise bad_source(blob, exc.strerror or str(exc)) from exc
    if whole != blob.digest:
        raise bad_source(blob, "its content has changed")
    return found


def pieces(size_bytes: int, start: int) -> Iterator[Piece]:
    """Cut what follows `start` at the borders of chunks."""
    offset = start
    while offset < size_bytes:
        border = min((offset // CHUNK_BYTES + 1) * CHUNK_BYTES, size_bytes)
        yield Piece(offset // CHUNK_BYTES, offset, border - offset)
        offset = border


def read_chunk(handle: BinaryIO, blob: Blob, number: int, digest: str) -> bytes:
    """Read one chunk and see that it is the right one: nothing else is ever sent.

    Raises:
        SiteError: it cannot be read or is not (E-ARTIFACT-SOURCE).
    """
    try:
        handle.seek(number * CHUNK_BYTES)
        chunk = handle.read(min(CHUNK_BYTES, blob.size_bytes - number * CHUNK_BYTES))
    except OSError as exc:
        raise bad_source(blob, exc.strerror or str(exc)) from exc
    if hashlib.sha256(chunk).hexdigest() != digest:
        raise bad_source(blob, f"its chunk {number} has changed")
    return chunk


def good_blocks(chunk: bytes, blocks: Sequence[str]) -> int:
    """How many bytes at the beginning of a chunk a node holds, from the hashes that it told."""
    good = 0
    for told in blocks:
        block = chunk[good : good + BLOCK_BYTES]
        if len(block) < BLOCK_BYTES or hashlib.sha256(block).hexdigest() != told:
            break
        good += BLOCK_BYTES
    return good


def bad_source(blob: Blob, why: str) -> SiteError:
    """Make the error for a file of the appliance that cannot be sent."""
    return SiteError(
        f"the appliance cannot send {blob.path.name} (sha256 {blob.digest[:12]}…): {why}",
        hint="The appliance's disk may be failing. Import the bundle, or add the release, again.",
        code="E-ARTIFACT-SOURCE",
    )


@lru_cache(maxsize=256)  # many sites get the same files
def _hashed(path: Path, changed_ns: int) -> tuple[tuple[str, ...], str]:  # noqa: ARG001 - a changed file is hashed again
    whole = hashlib.sha256()
    chunks = []
    with path.open("rb") as handle:
        while block := handle.read(CHUNK_BYTES):
            chunks.append(hashlib.sha256(block).hexdigest())
            whole.update(block)
    return tuple(chunks), whole.hexdigest()
