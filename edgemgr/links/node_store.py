"""A program for the node's own Python (3.8 or newer): keeps the content store in which files lie under their sha256.

It is sent as it stands (links/transfer_node.py) and run as root, begun by `main` of links/node_program.py. The bytes
themselves come by SFTP as the login user, into a directory of its own for each transfer: `open` makes that directory
and moves there what older transfers have left, so that those find nothing more to write to; `complete` takes the files
from there. All steps take the fence (links/node_fence.py, which is sent along).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import signal
import stat
import time
from pathlib import Path
from typing import Any

from edgemgr.links.node_fence import RefusedError
from edgemgr.links.node_files import make_directory, open_own, remove, size_of, sync_directory

READ_BYTES = 1024 * 1024
DIGEST = re.compile(r"[0-9a-f]{64}")
PART = ".part"
PROC = Path("/proc")
BLOCK_BYTES = 512  # the unit of st_blocks (stat(2))


def open_store(asked: dict[str, Any]) -> dict[str, Any]:
    """Bar older transfers, see that there is room for this one, and tell what of its files is already here."""
    user = pwd.getpwnam(asked["user"])
    cache, incoming = Path(asked["cache"]), Path(asked["incoming"])
    make_directory(cache, 0o700)
    make_directory(incoming, 0o711)
    if user.pw_uid != 0:
        let_pass(incoming.parent)
    mine = incoming / f"{int(asked['attempt'])}.{secrets.token_hex(8)}"
    mine.mkdir(0o700)
    gather(cache, incoming, mine)
    end_writers(entries(mine))
    present = [blob["digest"] for blob in asked["blobs"] if size_of(cache / named(blob)) == blob["size_bytes"]]
    missing = [blob for blob in asked["blobs"] if blob["digest"] not in present]
    held = {blob["digest"]: look_at_part(mine / (named(blob) + PART), blob, asked, user) for blob in missing}
    refuse_without_room(mine, missing, asked, copies=user.pw_uid != 0)
    sync_directory(mine)
    sync_directory(incoming)
    os.chown(mine, user.pw_uid, user.pw_gid)
    if not missing:
        with contextlib.suppress(OSError):  # partial files of other transfers may be left in it
            mine.rmdir()
    return {"directory": str(mine), "present": present, "held": held}


def complete(asked: dict[str, Any]) -> dict[str, Any]:
    """Give whole files their names, after they were hashed here; tells which were wrong, and removes those."""
    directory, cache = Path(asked["directory"]), Path(asked["cache"])
    copies = pwd.getpwnam(asked["user"]).pw_uid != 0
    end_writers([directory / (named(blob) + PART) for blob in asked["blobs"]])
    wrong = [
        blob["digest"]
        for blob in asked["blobs"]
        if not take(directory / (named(blob) + PART), cache / named(blob), blob, copies=copies)
    ]
    with contextlib.suppress(OSError):  # files that are still to come
        directory.rmdir()
    return {"wrong": wrong}


def prune(asked: dict[str, Any]) -> dict[str, Any]:
    """Remove what is not to be kept. A file that is linked elsewhere is in place there: it stays, and frees nothing.

    Of a file that lies here whole, a part that another transfer has left is of no use any more.
    """
    cache, removed, freed = Path(asked["cache"]), [], 0
    keep = set(asked["keep"])
    parts = {digest + PART for digest in keep if size_of(cache / digest) < 0}
    for directory in [cache, *directories_in(Path(asked["incoming"]))]:
        for path in entries(directory):
            status = path.lstat()
            is_in_place = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
            is_ours = DIGEST.fullmatch(path.stem if path.suffix == PART else path.name)
            if is_in_place or path.name in keep or path.name in parts or not is_ours:
                continue
            path.unlink()
            removed.append(path.name)
            freed += status.st_blocks * BLOCK_BYTES
    return {"removed": sorted(removed), "freed_bytes": freed}


def gather(cache: Path, incoming: Path, mine: Path) -> None:
    """Move all partial files into this transfer's directory, the longest where there are several.

    The directory is still root's, so that nobody else can change a name in it while it is looked at.
    """
    others = [path for path in directories_in(incoming) if path != mine]
    for path in [path for directory in [cache, *others] for path in entries(directory)]:
        if path.suffix != PART or not DIGEST.fullmatch(path.stem):
            continue
        if size_of(path) > size_of(mine / path.name):
            path.rename(mine / path.name)
        else:
            remove(path)
    for directory in others:
        for path in entries(directory):
            remove(path)
        with contextlib.suppress(OSError):
            directory.rmdir()


def look_at_part(path: Path, blob: dict[str, Any], asked: dict[str, Any], user: Any) -> dict[str, Any]:
    """Make the partial file if there is none; how many chunks of it are right, and hashes of the blocks after them.

    What follows the last whole block is cut off.
    """
    chunk_bytes, block_bytes, size = asked["chunk_bytes"], asked["block_bytes"], blob["size_bytes"]
    good, at = 0, 0
    blocks: list[str] = []
    descriptor = open_own(path)
    with os.fdopen(descriptor, "r+b") as handle:
        for digest in blob["chunks"]:
            if hash_range(handle, at, min(chunk_bytes, size - at)) != digest:
                break
            good += 1
            at = min(at + chunk_bytes, size)
        border = min(at + chunk_bytes, size)
        while at + block_bytes <= border:
            found = hash_range(handle, at, block_bytes)
            if found is None:
                break
            blocks.append(found)
            at += block_bytes
        os.ftruncate(descriptor, at)
        os.fchown(descriptor, user.pw_uid, user.pw_gid)
    return {"chunks": good, "blocks": blocks}


def hash_range(handle: Any, offset: int, length: int) -> str | None:
    """The sha256 of a part of a file; None when the file ends before it."""
    handle.seek(offset)
    digest = hashlib.sha256()
    while length:
        block = handle.read(min(READ_BYTES, length))
        if not block:
            return None
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


def refuse_without_room(mine: Path, missing: list[dict[str, Any]], asked: dict[str, Any], *, copies: bool) -> None:
    """Refuse before the first byte comes when the files do not fit with the reserve left over.

    A login user's file is copied before it is hashed (see `take`), so that for a while the largest is here twice.
    """
    if not missing:
        return
    # What is going to be made of these files comes to lie beside them.
    need = asked["reserve_bytes"] + asked["made_bytes"] + (max(blob["size_bytes"] for blob in missing) if copies else 0)
    for blob in missing:
        here = (mine / (named(blob) + PART)).stat().st_blocks * BLOCK_BYTES
        need += max(0, blob["size_bytes"] - here)
    room = os.statvfs(mine)
    free, hint = room.f_bavail * room.f_frsize, "Free some room on the node, or give it a larger disk."
    if free < need:
        reserve_mib = asked["reserve_bytes"] >> 20
        message = f"{asked['cache']} has {free >> 20} MiB free; {-(-need >> 20)} MiB are needed, "
        raise RefusedError("E-STAGE-ROOM", f"{message}{reserve_mib} MiB of it to stay free; nothing was sent", hint)
    inodes = asked["reserve_inodes"] + len(missing)
    # Some file systems (btrfs) have no fixed number of inodes and say 0.
    if room.f_files and room.f_favail < inodes:
        message = f"{asked['cache']} has {room.f_favail} inodes free, {inodes} are needed; nothing was sent"
        raise RefusedError("E-STAGE-ROOM", message, hint)


def take(part: Path, path: Path, blob: dict[str, Any], *, copies: bool) -> bool:
    """Bring a whole partial file to its name in the store if its bytes are right; else remove it.

    Where root logs in it is hashed where it lies, and renamed. A file in another user's directory could still be
    changed by that user after it was hashed: of it a copy is made, and what is hashed are the bytes of the copy.
    """
    source = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(source, "rb") as handle:
        status = os.fstat(source)
        staging = path.with_name(path.name + PART) if copies else part
        if not stat.S_ISREG(status.st_mode) or status.st_size != blob["size_bytes"]:
            found = None
        elif copies:
            found = copy(handle, staging, blob["size_bytes"])
        else:
            found = hash_range(handle, 0, blob["size_bytes"])
            os.fsync(source)
    if found == blob["digest"]:
        staging.rename(path)
        sync_directory(path.parent)
    remove(staging)
    remove(part)
    return bool(found == blob["digest"])


def copy(handle: Any, staging: Path, length: int) -> str:
    """Copy so many bytes to a new file that is root's alone; the sha256 of what was written."""
    remove(staging)
    digest = hashlib.sha256()
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        while length:
            block = handle.read(min(READ_BYTES, length))
            if not block:
                break
            target.write(block)
            digest.update(block)
            length -= len(block)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def end_writers(paths: list[Path]) -> None:
    """End every process that has one of these files open to write: what an older transfer left behind.

    It is the server's half of an SFTP connection that nobody serves any more, or of an attempt that was superseded.
    """
    status_of = [path.lstat() for path in paths]
    files = {(status.st_dev, status.st_ino) for status in status_of}
    for _ in range(40):
        found = [pid for pid in processes() if files and pid != os.getpid() and writes_to(pid, files)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    raise OSError("a process that writes to an older transfer's file does not end")


def processes() -> list[int]:
    """The numbers of all processes."""
    return [int(path.name) for path in entries(PROC) if path.name.isdigit()]


def writes_to(pid: int, files: set[tuple[int, int]]) -> bool:
    """Whether a process has one of the files open to write (proc_pid_fdinfo(5): flags)."""
    for path in entries(PROC / str(pid) / "fd"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = path.stat()
            if (status.st_dev, status.st_ino) in files:
                told = (PROC / str(pid) / "fdinfo" / path.name).read_text(encoding="utf-8")
                if int(told.split("flags:")[1].split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def named(blob: dict[str, Any]) -> str:
    """The digest of a blob, which becomes a file's name."""
    digest = str(blob["digest"])
    if not DIGEST.fullmatch(digest):
        raise RefusedError("E-ARTIFACT-NAME", f"{digest[:80]!r} is no sha256", "Report it with the log.")
    return digest


def entries(directory: Path) -> list[Path]:
    """What is in a directory; nothing if it is not there."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def directories_in(directory: Path) -> list[Path]:
    """The directories in a directory, without links."""
    return [path for path in entries(directory) if stat.S_ISDIR(path.lstat().st_mode)]


def let_pass(directory: Path) -> None:
    """Let the login user through to its own directory below; nobody sees what else is there."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    directory.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)
