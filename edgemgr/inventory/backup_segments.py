"""Segments: files in which a site's backup store keeps its blocks, compressed and encrypted, each a MiB or so.

`magic | length of the head | head | body`, both sealed. The head lists the SHA-256 and the length of each block; the
body is the blocks one after the other, compressed together: single pages of 4 KiB compress half as well. A file is
named by its own SHA-256, so that damage shows without the key as well.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import zstandard

from edgemgr.bundles.whole_file import sync_directory
from edgemgr.model.digest import is_digest
from edgemgr.vault.data_key import DataKey

_MAGIC = b"EMBACKUP\x01\x00\x00\x00"
_HEAD_LENGTH = struct.Struct(">I")
_ENTRY = struct.Struct(">32sI")
_MAX_HEAD_BYTES = 16 << 20
_MAX_BODY_BYTES = 64 << 20
_LEVEL = 6


class DamagedSegmentError(Exception):
    """A segment is not what was written; `name` says which."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"segment {name[:12]}…: {why}")
        self.name = name


class Segments:
    """The segments in one directory."""

    def __init__(self, directory: Path, key: DataKey) -> None:
        self._directory = directory
        self._key = key

    def write(self, blocks: Mapping[bytes, bytes]) -> str:
        """Write one segment of blocks by digest; it survives a power loss once this returns. Gives its name."""
        head = self._key.seal(b"".join(_ENTRY.pack(d, len(data)) for d, data in blocks.items()), what=b"head")
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(blocks.values()))
        content = b"".join((_MAGIC, _HEAD_LENGTH.pack(len(head)), head, self._key.seal(packed, what=_body_of(head))))
        name = hashlib.sha256(content).hexdigest()
        new = self._directory / f".new-{name}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - an open descriptor
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.rename(self._directory / name)
        sync_directory(self._directory)
        return name

    def names(self) -> list[str]:
        """All segments."""
        return sorted(path.name for path in self._directory.iterdir() if is_digest(path.name))

    def head(self, name: str) -> dict[bytes, int]:
        """Digest → length of each block in a segment, without reading them.

        Raises:
            DamagedSegmentError: it cannot be read.
        """
        try:
            with (self._directory / name).open("rb") as file:
                return self._entries(_head_of(file))
        except (OSError, ValueError) as exc:
            raise DamagedSegmentError(name, str(exc)) from exc

    def read(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """Digest and content of each block, hashed again.

        Raises:
            DamagedSegmentError: any byte of the segment is not what was written; then no block is given.
        """
        try:
            found = self._opened((self._directory / name).read_bytes(), name)
        except (OSError, ValueError, zstandard.ZstdError) as exc:
            raise DamagedSegmentError(name, str(exc)) from exc
        yield from found

    def remove(self, name: str) -> None:
        """Take a segment away."""
        (self._directory / name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Keep a damaged segment out of the way: it is no longer used, and a person may still look at it."""
        (self._directory / name).rename(self._directory / f"damaged-{name}")
        sync_directory(self._directory)

    def age_s(self, name: str, now: float) -> float:
        """How long ago a segment was written, in seconds."""
        return now - (self._directory / name).stat().st_mtime

    def drop_temporary(self) -> None:
        """Take away what a kill has left half-written."""
        for path in self._directory.glob(".new-*"):
            path.unlink()

    def _opened(self, content: bytes, name: str) -> list[tuple[bytes, bytes]]:
        if hashlib.sha256(content).hexdigest() != name:
            raise ValueError("it has another SHA-256")
        file = io.BytesIO(content)
        head = _head_of(file)
        packed = self._key.open_sealed(file.read(), what=_body_of(head))
        body = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_BODY_BYTES)
        found, at = [], 0
        for digest, size in self._entries(head).items():
            data = body[at : at + size]
            at += size
            if hashlib.sha256(data).digest() != digest:
                raise ValueError("a block has another SHA-256")
            found.append((digest, data))
        return found

    def _entries(self, head: bytes) -> dict[bytes, int]:
        return dict(_ENTRY.iter_unpack(self._key.open_sealed(head, what=b"head")))


def _head_of(file: BinaryIO) -> bytes:
    """The sealed head of a segment; what follows in the file is its body."""
    begin = file.read(len(_MAGIC) + _HEAD_LENGTH.size)
    if begin[: len(_MAGIC)] != _MAGIC or len(begin) != len(_MAGIC) + _HEAD_LENGTH.size:
        raise ValueError("it does not begin as a segment does")
    (size,) = _HEAD_LENGTH.unpack(begin[len(_MAGIC) :])
    if size > _MAX_HEAD_BYTES:
        raise ValueError("its head is too long")
    return file.read(size)


def _body_of(head: bytes) -> bytes:
    """What a body is sealed as: the one that belongs to this head."""
    return b"body|" + hashlib.sha256(head).digest()
