"""Files that are either the old or the new ones, whatever is pulled in the middle: write beside, sync, rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil

READ_BYTES = 1024 * 1024


def sha256_of(path: str) -> str:
    """The sha256 of a file, as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(READ_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def read_or_none(path: str) -> bytes | None:
    """The bytes of a small file; None when there is none."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def sync_file(path: str) -> None:
    """Make the content of a file durable, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory and those above it, durably."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        os.mkdir(each)
        os.chmod(each, mode)
        sync_directory(os.path.dirname(each))


def write_file(path: str, content: bytes, mode: int, directory_mode: int = 0o755) -> None:
    """Put bytes at `path`, never half of them; directories that are missing are made."""
    directory = os.path.dirname(path)
    make_directory(directory, directory_mode)
    temporary = os.path.join(directory, f".{os.path.basename(path)}.edgemgr-new")
    remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        os.fchmod(handle.fileno(), mode)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(temporary, path)
    sync_directory(directory)


def point_link(path: str, target: str) -> None:
    """Make `path` a symbolic link to `target`, replacing what was there in one step."""
    directory = os.path.dirname(path)
    make_directory(directory)
    temporary = os.path.join(directory, f".{os.path.basename(path)}.edgemgr-new")
    remove(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, path)
    sync_directory(directory)


def place_copy(source: str, path: str, staging: str, mode: int) -> str:
    """Place the file `source` at `path` through the staging name on the same file system; returns its sha256.

    A hard link costs no room; across file systems it is a copy. The caller compares the digest *before* the rename by
    passing through `staging`, so nothing unchecked ever lies at `path`.
    """
    for directory in (os.path.dirname(staging), os.path.dirname(path)):
        make_directory(directory)
    remove(staging)
    try:
        os.link(source, staging)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, staging)
    os.chmod(staging, mode)
    sync_file(staging)
    return sha256_of(staging)


def settle(staging: str, path: str) -> None:
    """Give a staged file its name."""
    os.rename(staging, path)
    sync_directory(os.path.dirname(path))


def remove(path: str) -> None:
    """Remove a file or link if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
