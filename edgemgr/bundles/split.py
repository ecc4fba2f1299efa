"""Cutting a bundle into parts, for sticks whose file system takes no file of 4 GiB (FAT32)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from edgemgr.bundles import faults
from edgemgr.bundles.parts import MAX_PARTS, PARTS_SUFFIX, Part, PartList, part_name
from edgemgr.bundles.source import Source, open_source

_READ_BYTES = 1 << 20


def split(path: Path, part_bytes: int) -> list[Path]:
    """Write `NAME.emb.001`… and `NAME.emb.parts` beside a bundle; the bundle itself stays.

    Args:
        path: the bundle's file.
        part_bytes: the size of every part but the last.

    Returns:
        The parts in order and, last, the list of parts.

    Raises:
        BundleError: the size gives no part or more than 999 (E-BUNDLE-INPUT), or a file cannot be read or
            written (E-BUNDLE-FILE).
    """
    whole = hashlib.sha256()
    parts: list[Part] = []
    with open_source(path) as source:
        if part_bytes < 1 or not 0 < source.size_bytes <= part_bytes * MAX_PARTS:
            raise faults.bad_input(path.name, f"parts of {part_bytes} bytes would be none or more than {MAX_PARTS}")
        written = []
        try:
            while source.tell() < source.size_bytes:
                target = path.with_name(part_name(path.name, len(parts) + 1))
                with target.open("xb") as file:
                    written.append(target)
                    parts.append(_write_part(source, file, part_bytes, whole))
            listed = PartList(name=path.name, size=source.size_bytes, sha256=whole.hexdigest(), parts=tuple(parts))
            with path.with_name(path.name + PARTS_SUFFIX).open("x") as listing:
                written.append(Path(listing.name))
                listing.write(listed.model_dump_json(indent=1) + "\n")
        except BaseException as exc:
            for target in written:
                target.unlink(missing_ok=True)
            if isinstance(exc, OSError):
                raise faults.unusable_file(str(exc.filename or path), exc.strerror or str(exc)) from exc
            raise
    return written


def _write_part(source: Source, file: BinaryIO, part_bytes: int, whole: hashlib._Hash) -> Part:
    digest, left = hashlib.sha256(), min(part_bytes, source.size_bytes - source.tell())
    size = left
    while left:
        block = source.read(min(left, _READ_BYTES))
        if not block:
            raise faults.truncated(source.tell(), source.size_bytes)
        file.write(block)
        digest.update(block)
        whole.update(block)
        left -= len(block)
    file.flush()
    os.fsync(file.fileno())
    return Part(name=Path(file.name).name, size=size, sha256=digest.hexdigest())
