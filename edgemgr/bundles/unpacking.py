"""Reads what is packed with gzip or zstd, and counts both sides: no small file becomes an endless one."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import IO, Protocol, cast

import zstandard

from edgemgr.errors import BundleError
from edgemgr.model.release import Packing, packing_of

#: What a file may grow to when it is unpacked: this many times its size, once it is past the free part.
MAX_RATIO = 200
FREE_BYTES = 64 << 20
#: The largest window that a zstd frame may ask for: memory of the reader.
MAX_WINDOW_BYTES = 1 << 27


class Readable(Protocol):
    """Anything that gives bytes in order."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Unpacked:
    """A file's content, unpacked where it is packed.

    Attributes:
        packing: how the file is packed; None for anything that is neither gzip nor zstd.
        size_bytes: what was given out so far.
    """

    def __init__(self, file: IO[bytes], *, what: str) -> None:
        """Begin at the file's start.

        Args:
            file: must be seekable.
            what: how messages call it.
        """
        head = file.read(512)
        file.seek(0)
        found = packing_of(head)
        self.packing = None if found is Packing.TAR else found
        self.size_bytes = 0
        self._what = what
        self._packed = _Counted(file)
        self._stream: Readable
        if self.packing is Packing.GZIP:
            self._stream = gzip.GzipFile(fileobj=self._packed, mode="rb")
        elif self.packing is Packing.ZSTD:
            reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
            self._stream = reader.stream_reader(cast("IO[bytes]", self._packed), read_across_frames=True)
        else:
            self._stream = file

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes of content; none at the end.

        Raises:
            BundleError: the packing is damaged, or the content is implausibly large for it (E-BUNDLE-ARCHIVE).
        """
        try:
            block = self._stream.read(size)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as exc:
            raise BundleError(
                f"{self._what} cannot be unpacked: {exc}",
                hint="Fetch or make the file again.",
                code="E-BUNDLE-ARCHIVE",
            ) from exc
        self.size_bytes += len(block)
        if self.packing and self.size_bytes > FREE_BYTES and self.size_bytes > MAX_RATIO * self._packed.count:
            raise BundleError(
                f"{self._what} unpacks to more than {MAX_RATIO} times its size",
                hint="No image or chart does; the file was made to fill a disk. Nothing of it was kept.",
                code="E-BUNDLE-ARCHIVE",
            )
        return block


class _Counted(io.RawIOBase):
    """A file that knows how many of its bytes were read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(size)
        self.count += len(block)
        return block

    def readable(self) -> bool:
        return True
