"""Part of the programs for a node (links/node_store.py, links/stick_stage.py): its files, whatever lies in their place.

Python 3.8 or newer, standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def make_directory(path: Path, mode: int) -> None:
    """Make a directory, and those above it for root alone, durably."""
    if not path.parent.is_dir():
        make_directory(path.parent, 0o700)
    if not path.is_dir():
        path.mkdir()
        path.chmod(mode)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_own(path: Path) -> int:
    """Open a partial file to read and write. What is no plain file, or has a second name, is put away first."""
    for _ in range(2):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.fchmod(descriptor, 0o600)
                return descriptor
            os.close(descriptor)
        remove(path)
    raise OSError(f"{path} cannot be opened as a plain file")


def size_of(path: Path) -> int:
    """Size of a plain file; -1 for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def remove(path: Path) -> None:
    """Remove a file or link if it is there; a directory stays."""
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        path.unlink()
