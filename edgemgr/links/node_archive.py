"""Part of the program for the node's store: image archives made of layers that are there, and which sets are kept.

A layer may lie in the store as a file, or within an archive that came or was made earlier, or that a bootstrap had
begun to bring: archives are plain tar files whose members are named `blobs/sha256/DIGEST`, so that each tells by itself
where in it which layer is. Python 3.8 or newer, standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from edgemgr.links.node_fence import RefusedError
from edgemgr.links.node_files import remove, size_of, sync_directory
from edgemgr.links.node_store import (
    BLOCK_BYTES,
    DIGEST,
    PART,
    READ_BYTES,
    directories_in,
    entries,
    named,
    prune,
)

MADE = ".made"
#: Beside the record of attempts, as in the collection (module_utils/layout.py).
ORDER_KEYS = "appliance-keys.pub"
# Of files that came the login user may have made something else, which must neither lead elsewhere nor block.
OPEN_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
MEMBER = "blobs/sha256/"
MAX_MEMBERS = 20_000
MAX_RECORD_BYTES = 4 * 1024 * 1024


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """The node's machine, and which of these files it holds: by themselves, or within archives of its store."""
    cache = Path(asked["cache"])
    drop_unfinished(cache)
    wanted = {named(blob): blob["size_bytes"] for blob in asked["blobs"]}
    inside = index(asked)
    return {
        "machine": os.uname().machine,
        "whole": [digest for digest, size in wanted.items() if size_of(cache / digest) == size],
        "inside": [digest for digest, size in wanted.items() if digest in inside and inside[digest][2] == size],
    }


def assemble(asked: dict[str, Any]) -> dict[str, Any]:
    """Make an archive of literal bytes and layers; it gets its name when its hash is right.

    What turns out to be damaged is taken away, so that the next look does not count on it.
    """
    cache = Path(asked["cache"])
    drop_unfinished(cache)
    path = cache / named(asked)
    if size_of(path) == asked["size_bytes"]:
        return {"wrong": []}
    refuse_without_room(cache, asked)
    inside = index(asked)
    made = path.with_name(path.name + MADE)
    whole, wrong = hashlib.sha256(), []
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        for part in asked["parts"]:
            if isinstance(part, str):
                data = base64.b64decode(part)
                target.write(data)
                whole.update(data)
            elif not append(target, whole, part, cache, inside):
                wrong.append(part["digest"])
        target.flush()
        os.fsync(target.fileno())
    if not wrong and whole.hexdigest() != path.name:
        wrong.append(path.name)
    if wrong:
        remove(made)
    else:
        made.rename(path)
    sync_directory(cache)
    return {"wrong": wrong}


def keep_sets(asked: dict[str, Any]) -> dict[str, Any]:
    """Note which files a bundle has brought; remove what neither it, the one before it, nor `keep` names.

    The node also learns whose work orders count on it, as bootstrap tells it (converge.py in the collection).
    """
    order_keys = Path(asked["record"]).with_name(ORDER_KEYS)
    order_key = asked.get("order_key", "")
    if order_key and content_of(order_keys) != order_key + "\n":
        replace(order_keys, order_key + "\n")
    record = Path(asked["cache"]).parent / "staged.json"
    before = recorded_sets(record)
    here = {"bundle": asked["bundle"], "digests": sorted(asked["digests"])}
    sets = [here, *[each for each in before or [] if each["bundle"] != here["bundle"]][:1]]
    write_sets(record, sets)
    if before is None:  # nobody knows what the previous set was: the next time tells
        return {"removed": [], "freed_bytes": 0}
    kept = {digest for each in sets for digest in each["digests"]}
    return prune({**asked, "keep": sorted(kept.union(asked["keep"]))})


def index(asked: dict[str, Any]) -> dict[str, tuple[Path, int, int]]:
    """Layer → the archive that holds it, where in it, and its size. Whole archives are asked first."""
    cache = Path(asked["cache"])
    paths = [path for path in entries(cache) if DIGEST.fullmatch(path.name)]
    for directory in [cache, *directories_in(Path(asked["incoming"]))]:
        paths += [path for path in entries(directory) if path.suffix == PART and DIGEST.fullmatch(path.stem)]
    found: dict[str, tuple[Path, int, int]] = {}
    for path in paths:
        with contextlib.suppress(OSError):  # no plain file
            for digest, offset, size in layers_in(path):
                found.setdefault(digest, (path, offset, size))
    return found


def layers_in(path: Path) -> list[tuple[str, int, int]]:
    """The layers in an archive, as (digest, offset, size); none in a file that is no such archive."""
    found = []
    with os.fdopen(os.open(path, OPEN_PLAIN), "rb") as handle:
        status = os.fstat(handle.fileno())
        at, length = 0, status.st_size if stat.S_ISREG(status.st_mode) else 0
        for _ in range(MAX_MEMBERS):
            handle.seek(at)
            header = handle.read(BLOCK_BYTES)
            if len(header) < BLOCK_BYTES or header[257:262] != b"ustar" or header[156:157] not in (b"0", b"\0"):
                break
            try:
                name, size = header[:100].rstrip(b"\0").decode("ascii"), int(header[124:136].rstrip(b"\0 "), 8)
            except ValueError:
                break
            at += BLOCK_BYTES
            if size < 0 or at + size > length:
                break
            digest = name[len(MEMBER) :]
            if name.startswith(MEMBER) and DIGEST.fullmatch(digest):
                found.append((digest, at, size))
            at += size + -size % BLOCK_BYTES
    return found


def append(
    target: Any, whole: Any, part: dict[str, Any], cache: Path, inside: dict[str, tuple[Path, int, int]]
) -> bool:
    """Add a layer; whether its bytes were right. The file that held wrong ones is removed."""
    digest, size = named(part), part["size_bytes"]
    source, offset = cache / digest, 0
    if size_of(source) != size:
        if digest not in inside or inside[digest][2] != size:
            return False
        source, offset, _ = inside[digest]
    found, left = hashlib.sha256(), size
    try:
        with os.fdopen(os.open(source, OPEN_PLAIN), "rb") as handle:
            handle.seek(offset)
            while left:
                block = handle.read(min(READ_BYTES, left))
                if not block:
                    break
                target.write(block)
                found.update(block)
                whole.update(block)
                left -= len(block)
    except FileNotFoundError:  # a part before this one has shown that it is damaged
        return False
    if found.hexdigest() != digest:
        remove(source)
        return False
    return True


def refuse_without_room(cache: Path, asked: dict[str, Any]) -> None:
    """Refuse when the archive does not fit with the reserve left over."""
    room = os.statvfs(cache)
    free, need = room.f_bavail * room.f_frsize, asked["size_bytes"] + asked["reserve_bytes"]
    if free < need:
        message = f"{cache} has {free >> 20} MiB free; {-(-need >> 20)} MiB are needed to put the images together"
        raise RefusedError("E-STAGE-ROOM", message, "Free some room on the node, or give it a larger disk.")


def drop_unfinished(cache: Path) -> None:
    """Remove what a node that went down has left half made."""
    for path in entries(cache):
        if path.name.endswith(MADE):
            remove(path)


def recorded_sets(record: Path) -> list[dict[str, Any]] | None:
    """The sets of the bundles that were staged last, the newest first; None when the record cannot be read."""
    try:
        with record.open(encoding="utf-8") as handle:
            sets = json.loads(handle.read(MAX_RECORD_BYTES))["sets"]
        return [
            {"bundle": str(each["bundle"]), "digests": [str(digest) for digest in each["digests"]]} for each in sets
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        return None


def write_sets(record: Path, sets: list[dict[str, Any]]) -> None:
    """Replace the record, durably."""
    replace(record, json.dumps({"sets": sets}) + "\n")


def content_of(path: Path) -> str:
    """The text of a small file; nothing when it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return ""


def replace(record: Path, text: str) -> None:
    """Put a small file there, durably and never half of it."""
    partial = record.with_name(record.name + ".stage")
    remove(partial)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.rename(record)
    sync_directory(record.parent)
