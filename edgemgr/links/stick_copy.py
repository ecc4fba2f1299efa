"""Part of the program on a stick (links/stick_stage.py): files of the stick → the node's content store.

Repeatable, and it goes on where it was: what lies in the store with the right hash stays, a partial file is continued.
Python 3.8 or newer, standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgemgr.links.node_fence import RefusedError, acquire, lock_file, recorded
from edgemgr.links.node_files import open_own, remove, size_of, sync_directory

READ_BYTES = 1024 * 1024
PART = ".part"
BLOCK_BYTES = 512  # the unit of st_blocks (stat(2))
MIB = 1024 * 1024


class DamagedError(Exception):
    """A file on the stick cannot be read, or is not what it should be."""


@dataclass(frozen=True)
class Blob:
    """One file of the order: its sha256, and on the stick the pieces that it lies in, mostly one."""

    digest: str
    size_bytes: int
    pieces: list[Path]


def pieces_of(directory: Path, digest: str, size_bytes: int, piece_bytes: int) -> list[Path]:
    """Where a file lies on a stick: FAT32 holds no file of 4 GiB, so a larger one is cut."""
    if size_bytes <= piece_bytes:
        return [directory / digest]
    return [directory / f"{digest}.{number + 1:03}" for number in range(-(-size_bytes // piece_bytes))]


def open_plain(path: Path) -> BinaryIO:
    """Open a file of the stick: a plain one, no link that leads elsewhere and no pipe that never ends.

    Raises:
        OSError: it is none, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file")
    return os.fdopen(descriptor, "rb")


def read_from(pieces: list[Path], offset: int, end: int) -> Iterator[bytes]:
    """The bytes of a file of the stick from some place to another, and none beyond it whatever the stick has.

    Raises:
        DamagedError: the stick cannot be read.
    """
    left = end - offset
    try:
        for path in pieces:
            with open_plain(path) as handle:
                size = os.fstat(handle.fileno()).st_size
                if offset >= size:
                    offset -= size
                    continue
                handle.seek(offset)
                offset = 0
                while left:
                    block = handle.read(min(READ_BYTES, left))
                    if not block:
                        break
                    left -= len(block)
                    yield block
    except OSError as exc:
        raise DamagedError(exc.strerror or str(exc)) from exc


@contextlib.contextmanager
def node_locked(lock: Path, record: Path, wait_s: float) -> Iterator[None]:
    """Keep others from changing the node meanwhile.

    Files under their hash harm no attempt, newer or older: the record of attempts is looked at, and stays as it is.

    Raises:
        RefusedError: E-FENCE-BUSY, E-FENCE-DAMAGED.
    """
    descriptor = lock_file(lock)
    try:
        acquire(descriptor, {"fence_wait_s": wait_s, "lock": str(lock)})
        recorded(record)
        yield
    finally:
        os.close(descriptor)


def missing_bytes(cache: Path, blobs: list[Blob]) -> int:
    """How much room the files take that are not there."""
    need = 0
    for blob in blobs:
        if size_of(cache / blob.digest) != blob.size_bytes:
            need += max(0, blob.size_bytes - allocated(cache / (blob.digest + PART)))
    return need


def refuse_without_room(cache: Path, need: int, reserve: int) -> None:
    """Refuse before the first byte is written when the files do not fit with the reserve left over."""
    room = os.statvfs(cache)
    free = room.f_bavail * room.f_frsize
    if need and free < need + reserve:
        raise RefusedError(
            "E-STAGE-ROOM",
            f"{cache} has {free // MIB} MiB free; {-(-(need + reserve) // MIB)} MiB are needed, {reserve // MIB} MiB"
            " of it to stay free; nothing was copied",
            "Free some room on the node, or give it a larger disk.",
        )


def bring(cache: Path, blob: Blob, tell: Callable[[int], None]) -> int:
    """Have a file in the store under its hash; returns how many bytes were copied for it.

    Raises:
        DamagedError: the stick does not hold it as it should be.
        OSError: the node's disk refuses.
    """
    path = cache / blob.digest
    part = cache / (blob.digest + PART)
    if size_of(path) == blob.size_bytes and hash_of(path) == blob.digest:
        remove(part)
        return 0
    refuse_wrong_size(blob)
    # What was not on the disk yet when the power went may be wrong in the first half: then it is copied anew, once.
    for begin_anew in (False, True):
        if begin_anew:
            remove(part)
        found, had = append(part, blob, tell)
        if found == blob.digest:
            part.rename(path)
            sync_directory(cache)
            return blob.size_bytes - had
        if had == 0:
            break
    remove(part)
    raise DamagedError("its sha256 is another one")


def refuse_wrong_size(blob: Blob) -> None:
    """See that the file is on the stick, in its right size, before room is taken for it.

    Raises:
        DamagedError: it is not.
    """
    try:
        found = [path.lstat() for path in blob.pieces]
    except OSError as exc:
        raise DamagedError(exc.strerror or str(exc)) from exc
    if not all(stat.S_ISREG(status.st_mode) for status in found):
        raise DamagedError("it is no plain file")
    size = sum(status.st_size for status in found)
    if size != blob.size_bytes:
        raise DamagedError(f"it has {size} bytes")


def append(part: Path, blob: Blob, tell: Callable[[int], None]) -> tuple[str, int]:
    """Bring a partial file to its end; the hash of all of it as it lies there, and what was there before."""
    with os.fdopen(open_own(part), "r+b") as handle:
        had = min(os.fstat(handle.fileno()).st_size, blob.size_bytes)
        handle.truncate(had)
        handle.seek(had)
        done = had
        for block in read_from(blob.pieces, had, blob.size_bytes):
            done += handle.write(block)
            tell(done)
        handle.flush()
        os.fsync(handle.fileno())
    return hash_of(part), had


def hash_of(path: Path) -> str:
    """The sha256 of a file of the node."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        for block in iter(lambda: handle.read(READ_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def allocated(path: Path) -> int:
    """The room that a plain file takes; 0 for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_blocks * BLOCK_BYTES if stat.S_ISREG(status.st_mode) else 0
