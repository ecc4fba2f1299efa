"""Source: the bytes of a bundle, from one file or from the parts that were split for a small stick."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from edgemgr.bundles import faults
from edgemgr.bundles.parts import PARTS_SUFFIX, PartList, read_part_list

_READ_BYTES = 1 << 20
_FIRST_PART = ".001"


@dataclass(frozen=True)
class _Piece:
    file: FileIO
    name: str
    start: int
    size_bytes: int
    digest: str  #: from the list of parts; empty for a whole file


class Source:
    """A read-only seekable stream. Its size is that at the time of opening; what is appended later is not seen."""

    def __init__(self, name: str, pieces: Sequence[_Piece], stack: ExitStack) -> None:
        self.name = name
        self.names = tuple(piece.name for piece in pieces)
        self.size_bytes = sum(piece.size_bytes for piece in pieces)
        self._pieces = pieces
        self._stack = stack
        self._at = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end.

        Raises:
            BundleError: the medium fails (E-BUNDLE-FILE).
        """
        found = []
        for piece in self._pieces:
            inside = self._at - piece.start
            if size <= 0 or not 0 <= inside < piece.size_bytes:
                continue
            try:
                block = _read_all(piece.file, min(size, piece.size_bytes - inside), inside)
            except OSError as exc:
                raise faults.unusable_file(piece.name, exc.strerror or str(exc)) from exc
            found.append(block)
            self._at += len(block)
            size -= len(block)
        return found[0] if len(found) == 1 else b"".join(found)

    def seek(self, offset: int) -> None:
        """Go to a place, counted from the beginning of the bundle."""
        self._at = offset

    def tell(self) -> int:
        """The place of the next byte that is read."""
        return self._at

    def damaged_part(self) -> str | None:
        """The first part whose bytes are not those in the list of parts: says which file to copy again."""
        for piece in self._pieces:
            digest = hashlib.sha256()
            self.seek(piece.start)
            while self._at < piece.start + piece.size_bytes:
                block = self.read(min(_READ_BYTES, piece.start + piece.size_bytes - self._at))
                if not block:
                    break
                digest.update(block)
            if piece.digest and digest.hexdigest() != piece.digest:
                return piece.name
        return None

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: Path) -> Source:
    """Open a bundle: its file, its list of parts, its first part, or a directory that holds one bundle.

    Raises:
        BundleError: nothing there can be read (E-BUNDLE-FILE), a part is short or missing (E-B010) or too long
            (E-B070), or the list of parts is none (E-B012).
    """
    path = _bundle_in(path)
    listed = _list_beside(path)
    with ExitStack() as stack:
        pieces = [_open(path, 0, stack)] if listed is None else _open_parts(listed, path.parent, stack)
        return Source(path.name if listed is None else listed.name, pieces, stack.pop_all())


def _bundle_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [p for p in path.iterdir() if p.name.endswith((".emb", PARTS_SUFFIX))]
    if len(found) != 1:
        raise faults.unusable_file(str(path), f"it holds {len(found)} bundles, not one")
    return found[0]


def _list_beside(path: Path) -> PartList | None:
    if path.name.endswith(PARTS_SUFFIX):
        return read_part_list(path)
    listing = path.with_name(path.name.removesuffix(_FIRST_PART) + PARTS_SUFFIX)
    if path.name.endswith(_FIRST_PART) and listing.exists():
        return read_part_list(listing)
    return None


def _open_parts(listed: PartList, directory: Path, stack: ExitStack) -> list[_Piece]:
    pieces, start = [], 0
    for part in listed.parts:
        path = directory / part.name
        if not path.exists():
            raise faults.part_short(part.name, 0, part.size)
        piece = _open(path, start, stack, part.sha256)
        if piece.size_bytes < part.size:
            raise faults.part_short(part.name, piece.size_bytes, part.size)
        if piece.size_bytes > part.size:
            raise faults.forbidden(part.name, "the part is longer than its list says")
        pieces.append(piece)
        start += piece.size_bytes
    return pieces


def _open(path: Path, start: int, stack: ExitStack, digest: str = "") -> _Piece:
    try:
        # Without O_NONBLOCK a pipe of that name would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        file = stack.enter_context(FileIO(descriptor, "rb"))
        status = os.fstat(descriptor)
    except OSError as exc:
        raise faults.unusable_file(str(path), exc.strerror or str(exc)) from exc
    if not stat.S_ISREG(status.st_mode):
        raise faults.unusable_file(str(path), "it is no regular file")
    return _Piece(file, path.name, start, status.st_size, digest)


def _read_all(file: FileIO, size: int, at: int) -> bytes:
    """Without a buffer of our own: what is hashed is what the medium gives now. A file that shrinks gives less."""
    found = []
    while size and (block := os.pread(file.fileno(), size, at)):
        found.append(block)
        at, size = at + len(block), size - len(block)
    return found[0] if len(found) == 1 else b"".join(found)
