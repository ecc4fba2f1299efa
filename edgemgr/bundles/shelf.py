"""Shelf: the blobs of a bundle in the making, each once, by its digest."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgemgr.bundles.names import CHUNK_BYTES, CHUNKED_FROM_BYTES
from edgemgr.errors import BundleError

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Bytes that lie in a file, by their SHA-256."""

    path: Path
    digest: str  #: 64 hexadecimal digits
    size_bytes: int
    chunks: tuple[str, ...]  #: SHA-256 of every 4 MiB of a large blob; none for a small one


class Shelf:
    """A directory of our own in which content from archives lies under its digest; other files stay where they are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, content: Iterable[bytes]) -> Blob:
        """Keep a stream. What the shelf has already is kept once.

        Raises:
            BundleError: the disk is full or cannot be written (E-BUNDLE-FILE).
        """
        meter = _Meter()
        try:
            handle, name = tempfile.mkstemp(dir=self._directory, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    for block in content:
                        meter.update(block)
                        file.write(block)
                path = Path(name).rename(self._directory / meter.digest)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as exc:
            raise BundleError(
                f"{self._directory} cannot be written: {exc.strerror}",
                hint="Making a bundle needs room for its unpacked images beside the new file.",
                code="E-BUNDLE-FILE",
            ) from exc
        return meter.blob(path)

    def take(self, path: Path) -> Blob:
        """Measure a file that stays where it is.

        Raises:
            BundleError: it is no file or cannot be read (E-BUNDLE-FILE).
        """
        meter = _Meter()
        for block in file_blocks(path):
            meter.update(block)
        return meter.blob(path)


def file_blocks(path: Path) -> Iterator[bytes]:
    """A file's content, 1 MiB at a time.

    Raises:
        BundleError: it is no file or cannot be read (E-BUNDLE-FILE).
    """
    try:
        if not path.is_file():
            raise BundleError(
                f"{path} is not there",
                hint="Mend the path in bundle.yaml, or put the file there.",
                code="E-BUNDLE-FILE",
            )
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                yield block
    except OSError as exc:
        raise BundleError(
            f"{path} cannot be read: {exc.strerror}", hint="See that you may read it.", code="E-BUNDLE-FILE"
        ) from exc


class _Meter:
    """Digest, size and digests of chunks, in one pass."""

    def __init__(self) -> None:
        self._whole, self._chunk = hashlib.sha256(), hashlib.sha256()
        self._chunks: list[str] = []
        self._room = CHUNK_BYTES
        self._size_bytes = 0

    @property
    def digest(self) -> str:
        return self._whole.hexdigest()

    def update(self, block: bytes) -> None:
        self._whole.update(block)
        self._size_bytes += len(block)
        rest = memoryview(block)
        while rest:
            part, rest = rest[: self._room], rest[self._room :]
            self._chunk.update(part)
            self._room -= len(part)
            if not self._room:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk, self._room = hashlib.sha256(), CHUNK_BYTES

    def blob(self, path: Path) -> Blob:
        chunks = () if self._size_bytes <= CHUNKED_FROM_BYTES else tuple(self._chunks)
        if chunks and self._room < CHUNK_BYTES:
            chunks = (*chunks, self._chunk.hexdigest())
        return Blob(path, self.digest, self._size_bytes, chunks)
