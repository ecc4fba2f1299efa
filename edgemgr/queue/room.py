"""Whether this machine has room for another batch: a worker that cannot write claims nothing."""

from __future__ import annotations

import os
from pathlib import Path

from edgemgr.errors import StoreError
from edgemgr.settings import Settings

#: A batch of 200 sites writes some 4 MB in runtime_dir and the same in logs before they are compressed.
ROOM_BYTES = 16 << 20
#: Files that must be possible beside them.
ROOM_FILES = 4096


def no_room(settings: Settings) -> StoreError | None:
    """What is missing, as an error that says where; None if there is room."""
    for path in (settings.runtime_dir, settings.log_dir, settings.state_dir):
        existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
        place = os.statvfs(existing)
        free = place.f_bavail * place.f_frsize
        if free < ROOM_BYTES or (place.f_files and place.f_favail < ROOM_FILES):
            return _full(path, f"{free >> 20} MiB and {place.f_favail} files are free")
        if place.f_flag & os.ST_RDONLY:
            return _full(path, "it is mounted read-only")
    return None


def _full(path: Path, why: str) -> StoreError:
    return StoreError(
        f"no room to work in {path}: {why}; nothing new is begun",
        hint="Free space there; work goes on by itself.",
        code="E-STORE-FULL",
    )
