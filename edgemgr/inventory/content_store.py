"""The appliance's content store: files under their SHA-256, those of releases and those of bundles alike."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgemgr.bundles.whole_file import sync_directory

_TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class Stored:
    """A file that is in the store."""

    digest: str  #: SHA-256, hexadecimal
    size_bytes: int


class ContentStore:
    """`DIRECTORY/sha256/DIGEST`. A file appears under its digest only when it is whole and on the disk."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "sha256"

    def path(self, digest: str) -> Path:
        """Where a file lies, or would lie."""
        return self._blobs / digest

    def has(self, digest: str, size_bytes: int) -> bool:
        """Whether the file is here."""
        path = self.path(digest)
        return path.is_file() and path.stat().st_size == size_bytes

    def take(self, chunks: Iterable[bytes], *, digest: str | None = None) -> Stored:
        """Write a file, hashing it on the way; it survives a power loss once this returns.

        Args:
            chunks: its bytes; what they raise is passed on, and then nothing is kept.
            digest: what the SHA-256 must be, where it is known before.

        Raises:
            OSError: the disk is full or cannot be written.
            ValueError: the bytes have another digest.
        """
        self._blobs.mkdir(parents=True, exist_ok=True)
        temporary = self._blobs / f"{_TEMPORARY}{digest or 'archive'}"
        found, size = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as file:
                for chunk in chunks:
                    found.update(chunk)
                    size += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest is not None and found.hexdigest() != digest:
                raise ValueError(f"sha256:{found.hexdigest()} instead of sha256:{digest}")
            temporary.chmod(0o444)
            temporary.rename(self.path(found.hexdigest()))
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self._blobs)
        return Stored(found.hexdigest(), size)

    def remove(self, digests: Iterable[str]) -> None:
        """Take files away; one that is not there is no fault."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)
        if self._blobs.is_dir():
            sync_directory(self._blobs)

    def untouched(self, since_s: float) -> dict[str, int]:
        """Digest → size of every file that came here more than so many seconds ago."""
        found = {}
        for path in self._blobs.iterdir() if self._blobs.is_dir() else []:
            status = path.stat()
            if not path.name.startswith(_TEMPORARY) and time.time() - status.st_ctime > since_s:
                found[path.name] = status.st_size
        return found

    def drop_temporary(self) -> None:
        """Take away what a killed import left half-written. Only while no other import runs."""
        for path in self._blobs.glob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)


def directory_bytes(directory: Path) -> int:
    """The sizes of all files below a directory together; 0 when it is not there."""
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(where) / name).lstat().st_size
            except FileNotFoundError:  # gone meanwhile
                continue
    return total
