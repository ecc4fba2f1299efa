"""Files that are there whole or not at all, also after a loss of power."""

from __future__ import annotations

import os
from pathlib import Path

from edgemgr.bundles import faults


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that is there whole or not at all, also after a loss of power.

    Raises:
        BundleError: it cannot be written (E-BUNDLE-FILE).
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 — an open descriptor
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
        sync_directory(path.parent)
    except OSError as exc:
        new.unlink(missing_ok=True)
        raise faults.unusable_file(str(path), exc.strerror or str(exc)) from exc


def sync_directory(directory: Path) -> None:
    """Make a rename in this directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
