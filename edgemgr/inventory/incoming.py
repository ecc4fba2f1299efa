"""Incoming: our own copies of bundles, in a directory that nobody else can look into.

What is verified and what is taken in is always the copy: a file on a stick may change between the two
(CVE-2020-25860).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgemgr.bundles.source import Source
from edgemgr.bundles.whole_file import sync_directory
from edgemgr.errors import ConflictError
from edgemgr.model.bundle_name import BundleName

_BLOCK_BYTES = 1 << 20

#: Called with bytes done and bytes in all.
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class OwnCopy:
    """A bundle file that only we can change."""

    path: Path
    digest: str  #: SHA-256 of the whole file
    resumed: bool = False  #: its beginning was copied by an earlier import that broke off


class Incoming:
    """The directory: `copies/` for imports, `uploads/` for the console, and the lock of whoever changes content."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._copies = directory / "copies"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one on this machine that takes content in or away.

        Raises:
            ConflictError: somebody else does (E-BUNDLE-BUSY). A process that was killed holds no lock.
        """
        make_private(self._directory)
        with (self._directory / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise ConflictError(
                    "another bundle is being imported or removed at this moment",
                    hint="Wait until it is done: `edgemgr bundle list` shows it.",
                    code="E-BUNDLE-BUSY",
                ) from exc
            yield

    def copied_bytes(self, name: BundleName, key: str) -> int:
        """How much of a bundle an earlier import copied."""
        path = self._path(name, key)
        return path.stat().st_size if path.is_file() else 0

    def copy(self, source: Source, name: BundleName, key: str, on_bytes: OnBytes, *, anew: bool = False) -> OwnCopy:
        """Copy a bundle, going on from what an earlier import copied.

        Args:
            source: the bundle on its stick.
            name: which bundle it says it is.
            key: SHA-256 of everything before its content: files with the same one are the same file.
            on_bytes: told of every block.
            anew: begin again, whatever is there.

        Raises:
            BundleError: the stick cannot be read (E-BUNDLE-FILE); what was copied stays for the next time.
            OSError: the disk is full or cannot be written.
        """
        make_private(self._directory)
        make_private(self._copies)
        path = self._path(name, key)
        if anew or self.copied_bytes(name, key) > source.size_bytes:
            path.unlink(missing_ok=True)
        digest, done = hashlib.sha256(), 0
        with path.open("a+b") as file:
            file.seek(0)
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                on_bytes(done, source.size_bytes)
            resumed = done > 0
            source.seek(done)
            while block := source.read(_BLOCK_BYTES):
                digest.update(block)
                done += file.write(block)
                on_bytes(done, source.size_bytes)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._copies)
        return OwnCopy(path, digest.hexdigest(), resumed)

    def discard(self, name: BundleName) -> None:
        """Take away what was copied of a bundle."""
        for path in self._copies.glob(f"{_prefix(name)}*"):
            path.unlink(missing_ok=True)

    def _path(self, name: BundleName, key: str) -> Path:
        return self._copies / f"{_prefix(name)}{key}.emb"


def make_private(directory: Path) -> None:
    """Make a directory that only its owner may enter.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def _prefix(name: BundleName) -> str:
    # No product or channel holds an underscore.
    return f"{name.product}_{name.channel}_{name.number}_"
