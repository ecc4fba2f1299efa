"""The fence: one change at a time on a node, and never by an attempt that has been superseded.

Killing the controller's process does not kill the module that it started over SSH, so the lock has to be here.
A lock file says who is at work now, the record on disk the highest attempt that has ever changed something.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import write_file

POLL_S = 0.2


def recorded_attempt() -> int:
    """The highest attempt number that has changed this node; 0 when none has."""
    try:
        with open(layout.FENCE_RECORD, encoding="utf-8") as handle:
            return int(json.load(handle)["attempt"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        raise EdgeError(
            "E-FENCE-DAMAGED",
            f"the record of attempts {layout.FENCE_RECORD} cannot be read",
            "Make sure that nothing of edgemgr runs on the node, then remove that file.",
            NEVER,
        ) from None


def refuse_stale(attempt: int) -> None:
    """Refuse an attempt with a lower number than one that has already been here."""
    newest = recorded_attempt()
    if attempt < newest:
        raise EdgeError(
            "E-FENCE-STALE",
            f"attempt {attempt} was superseded: attempt {newest} has already worked on this node",
            "The newer attempt's outcome counts; after a restore run `edgemgr database renumber`.",
            NEVER,
        )


@contextlib.contextmanager
def hold(
    attempt: int,
    wait_s: float,
    *,
    lives_on: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Keep everybody else from changing the node, after raising the recorded attempt to this one.

    Waits up to `wait_s` seconds for a surviving process of an older attempt. Who `lives_on` is not to be ended when
    its attempt is over.
    """
    descriptor = _lock_file(layout.LOCK)
    try:
        _acquire(descriptor, fcntl.LOCK_EX, wait_s, clock, sleep)
        refuse_stale(attempt)
        if recorded_attempt() < attempt:
            write_file(layout.FENCE_RECORD, json.dumps({"attempt": attempt}).encode() + b"\n", 0o600, 0o700)
        _name_holder(descriptor, attempt, lives_on)
        yield
    finally:
        os.close(descriptor)


def look(
    attempt: int,
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Check the fence without leaving a trace: nobody at work, no newer attempt."""
    try:
        descriptor = os.open(layout.LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ELOOP):
            raise
    else:
        try:
            if _is_ours(os.fstat(descriptor)):
                _acquire(descriptor, fcntl.LOCK_SH, wait_s, clock, sleep)
        finally:
            os.close(descriptor)
    refuse_stale(attempt)


def _name_holder(descriptor: int, attempt: int, lives_on: bool) -> None:
    """Write into the lock file who works for which attempt, so that a canceled one can be found and ended.

    Stays there afterwards: the process may still verify. The time of its start tells it from a later process of the
    same number (proc_pid_stat(5), field 22, in clock ticks since the boot).
    """
    with open("/proc/self/stat", encoding="utf-8") as handle:
        started = int(handle.read().rpartition(")")[2].split()[19])
    os.ftruncate(descriptor, 0)
    named = {"attempt": attempt, "pid": os.getpid(), "started": started}
    if lives_on:
        named["lives_on"] = True
    os.pwrite(descriptor, json.dumps(named).encode(), 0)


def _acquire(
    descriptor: int, how: int, wait_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    deadline = clock() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() >= deadline:
                raise EdgeError(
                    "E-FENCE-BUSY",
                    f"another attempt is still at work on this node after {wait_s:g} s of waiting",
                    f"It is tried again by itself; `fuser -v {layout.LOCK}` on the node names the process.",
                    BUDGETED,
                ) from None
            sleep(POLL_S)
        else:
            return


def _lock_file(path: str) -> int:
    """Open the lock file, made if need be.

    The directory is open to every local user, so a file or link that somebody else left there is put away: it could
    be held to lock us out.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for _attempt in range(5):
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ELOOP):
                raise
        else:
            if _is_ours(os.fstat(descriptor)):
                return descriptor
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    raise EdgeError(
        "E-FENCE-BUSY",
        f"the lock {path} cannot be taken: somebody keeps replacing it",
        "See which local user writes to that directory.",
    )


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
