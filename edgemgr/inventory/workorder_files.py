"""The files of a work order, written to a directory that is to go onto a stick, and read back before they count.

Copies, no hard links: whoever has the directory may change what lies there, and must not change the content store.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from edgemgr.bundles.whole_file import sync_directory
from edgemgr.errors import EdgemgrError, StoreError, UsageError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.links.stick_copy import pieces_of
from edgemgr.links.transfer_plan import Blob
from edgemgr.model.archive_recipe import ArchiveRecipe

#: FAT32 holds files of up to 4 GiB - 1.
PIECE_BYTES = 2 << 30
_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 16 << 20  # for directories and what a file system needs for itself


def new_directory(directory: Path, needed_bytes: int) -> None:
    """Make the directory, or take an empty one, with room for so many bytes.

    Raises:
        UsageError: it holds something, or cannot be made (E-ORDER-DIRECTORY); there is no room (E-ORDER-ROOM).
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = next(directory.iterdir(), None)
        free = shutil.disk_usage(directory).free
    except OSError as exc:
        raise UsageError(
            f"{directory} cannot be written: {exc.strerror or exc}",
            hint="Name a directory that does not exist yet, for example on the stick.",
            code="E-ORDER-DIRECTORY",
        ) from exc
    if taken is not None:
        raise UsageError(
            f"{directory} is not empty: it holds {taken.name}",
            hint="Name a directory that does not exist yet; what lies there stays as it is.",
            code="E-ORDER-DIRECTORY",
        )
    if free < needed_bytes + _SPARE_BYTES:
        raise no_room(directory, needed_bytes, free)


def no_room(directory: Path, needed_bytes: int, free_bytes: int) -> UsageError:
    """The stick is too small."""
    return UsageError(
        f"{directory} has {free_bytes >> 20} MiB free; the order needs {-(-needed_bytes >> 20)} MiB",
        hint="Take a larger stick, or fewer architectures at once.",
        code="E-ORDER-ROOM",
    )


def write_blob(
    directory: Path,
    store: ContentStore,
    item: Blob | ArchiveRecipe,
    piece_bytes: int,
    on_bytes: Callable[[int], None],
) -> None:
    """Write one blob, in pieces if it is large, and read it back.

    Raises:
        StoreError: the content store does not hold it as it should be (E-ORDER-SOURCE).
        EdgemgrError: the stick gives back other bytes than were written (E-ORDER-STICK).
        OSError: the stick is full or cannot be written.
    """
    pieces = pieces_of(directory, item.digest, item.size_bytes, piece_bytes)
    whole = hashlib.sha256()
    chunks = _cut(_bytes_of(store, item), piece_bytes)
    for path in pieces:
        with path.open("xb") as file:
            for chunk in chunks:
                if chunk is None:
                    break
                file.write(chunk)
                whole.update(chunk)
                on_bytes(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if whole.hexdigest() != item.digest:
        raise StoreError(
            f"sha256:{item.digest[:12]}… of the content store has changed",
            hint="The appliance's disk may be failing. Import the bundle again.",
            code="E-ORDER-SOURCE",
        )
    if _read_back(pieces) != item.digest:
        raise EdgemgrError(
            f"the stick gives back other bytes for {pieces[0].name[:12]}… than were written",
            hint="Do not use this stick; take another one.",
            code="E-ORDER-STICK",
        )


def sync_names(directory: Path) -> None:
    """Make the names in a directory survive pulling the stick, where its file system can."""
    with suppress(OSError):
        sync_directory(directory)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a small file that survives pulling the stick afterwards.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with suppress(OSError):  # FAT knows no modes
        path.chmod(mode)
    sync_names(path.parent)


def is_full(exc: OSError) -> bool:
    """Whether there was no room left."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


def _bytes_of(store: ContentStore, item: Blob | ArchiveRecipe) -> Iterator[bytes]:
    if isinstance(item, Blob):
        yield from _blocks(item.path)
        return
    for part in item.parts:
        if isinstance(part, bytes):
            yield part
        else:
            yield from _blocks(store.path(part.digest))


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as exc:
        raise StoreError(
            f"{path.name[:12]}… of the content store cannot be read: {exc.strerror or exc}",
            hint="The appliance's disk may be failing. Import the bundle again.",
            code="E-ORDER-SOURCE",
        ) from exc


def _cut(blocks: Iterator[bytes], piece_bytes: int) -> Iterator[bytes | None]:
    """The same bytes, with None where a piece ends."""
    left = piece_bytes
    for block in blocks:
        view = block
        while len(view) > left:
            yield view[:left]
            view, left = view[left:], piece_bytes
            yield None
        yield view
        left -= len(view)


def _read_back(pieces: list[Path]) -> str:
    found = hashlib.sha256()
    for path in pieces:
        with path.open("rb") as file:
            # From the stick, where the system allows that, and not from memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while block := file.read(_BLOCK_BYTES):
                found.update(block)
    return found.hexdigest()
