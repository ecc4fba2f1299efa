"""Part of the program for the node's store (links/node_store.py): the fence, as the collection's modules take it.

One change at a time on a node, and never by an attempt that has been superseded. The same lock, the same record and
the same rules as in the collection (module_utils/fence.py), which cannot be imported here: it lives on the node only
while Ansible runs a module. Python 3.8 or newer, standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgemgr.links.node_files import make_directory, sync_directory

POLL_S = 0.2


class RefusedError(Exception):
    """What the appliance is told instead of an answer."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "hint": hint}


@contextlib.contextmanager
def fence(asked: dict[str, Any]) -> Iterator[None]:
    """Keep everybody else from changing the node; from now on older attempts are refused."""
    attempt, record = int(asked["attempt"]), Path(asked["record"])
    descriptor = lock_file(Path(asked["lock"]))
    try:
        acquire(descriptor, asked)
        newest = recorded(record)
        if attempt < newest:
            message = f"attempt {attempt} was superseded: attempt {newest} has already worked on this node"
            hint = "The newer attempt's outcome counts; after a restore run `edgemgr database renumber`."
            raise RefusedError("E-FENCE-STALE", message, hint)
        if newest < attempt:
            write_record(record, attempt)
        started = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"attempt": attempt, "pid": os.getpid(), "started": started}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def acquire(descriptor: int, asked: dict[str, Any]) -> None:
    """Take the lock; wait for a surviving process of another attempt."""
    deadline = time.monotonic() + asked["fence_wait_s"]
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                message = "another attempt is still at work on this node after {:g} s of waiting".format(
                    asked["fence_wait_s"]
                )
                hint = "It is tried again by itself; `fuser -v {}` on the node names the process.".format(asked["lock"])
                raise RefusedError("E-FENCE-BUSY", message, hint) from None
            time.sleep(POLL_S)
        else:
            return


def lock_file(path: Path) -> int:
    """Open the lock; what another local user left in its place (the directory is everybody's) is put away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
                return descriptor
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    message = f"the lock {path} cannot be taken: somebody keeps replacing it"
    raise RefusedError("E-FENCE-BUSY", message, "See which local user writes to that directory.")


def recorded(record: Path) -> int:
    """The highest attempt that has changed this node; 0 when none has."""
    try:
        return int(json.loads(record.read_text(encoding="utf-8"))["attempt"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        message = f"the record of attempts {record} cannot be read"
        hint = "Make sure that nothing of edgemgr runs on the node, then remove that file."
        raise RefusedError("E-FENCE-DAMAGED", message, hint) from None


def write_record(record: Path, attempt: int) -> None:
    """Raise the record, durably. The caller has the lock."""
    make_directory(record.parent, 0o700)
    partial = record.with_name(record.name + ".stage")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(json.dumps({"attempt": attempt}) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    partial.rename(record)
    sync_directory(record.parent)
