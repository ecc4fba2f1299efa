"""A program for the node's own Python (3.8 or newer): ends what an attempt that is over still does there.

It is sent as it stands (links/ending.py) and run as root; arguments: lock file, fence record, attempt. What it ends is
named by the fence's lock file: the process with that number and that start, and those below it in the same session.
k3s, which the node's service manager starts, is never one of them; nor is a holder that says that it lives on: an
upgrade that was begun is not ended by anybody (module_utils/fence.py of the collection).

A process of the attempt that has not come as far as the lock is stopped by the fence's record: it says afterwards that
a newer attempt was here. The record is written only under the lock, so that it can never fall.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

WITHIN_S = 8.0
PAUSE_S = 0.1
PROC = Path("/proc")


def holder(lock: str) -> dict[str, Any] | None:
    """Who wrote himself into the lock file; None: nobody that still lives."""
    try:
        named = json.loads(Path(lock).read_text(encoding="utf-8"))
        pid, attempt, started = int(named["pid"]), int(named["attempt"]), int(named["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    process = stat_of(pid)
    if process is None or process["started"] != started:
        return None
    return {"pid": pid, "attempt": attempt, "lives_on": named.get("lives_on") is True}


def stat_of(pid: int) -> dict[str, int] | None:
    """Parent, session and start of a process (proc_pid_stat(5), fields 4, 6 and 22); None: there is none."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return {"parent": int(fields[1]), "session": int(fields[3]), "started": int(fields[19])}


def family(pid: int) -> list[int]:
    """A process and what it started, as far as that has stayed in its session."""
    all_of = {int(path.name): stat_of(int(path.name)) for path in PROC.iterdir() if path.name.isdigit()}
    known = {each: stat for each, stat in all_of.items() if stat is not None}
    if pid not in known:
        return []
    found = [pid]
    for each in found:
        found += [
            child
            for child, stat in known.items()
            if stat["parent"] == each and stat["session"] == known[pid]["session"]
        ]
    return found


def end(lock: str, attempt: int) -> int:
    """Kill the holder if his attempt is this one or an older one; returns how many processes were ended."""
    named = holder(lock)
    if named is None or named["attempt"] > attempt or named["lives_on"]:
        return 0
    members = family(named["pid"])
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(members)


def take(lock: str) -> int | None:
    """The lock, as long as this process lives; None: somebody has it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def raise_record(record: str, attempt: int) -> None:
    """From now on the fence refuses this attempt and all before it. The caller has the lock."""
    try:
        if int(json.loads(Path(record).read_text(encoding="utf-8"))["attempt"]) > attempt:
            return
    except FileNotFoundError:
        Path(record).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = Path(record + ".end")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(json.dumps({"attempt": attempt + 1}) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(record)


def main(lock: str, record: str, attempt: int) -> int:
    """End, and bar what might still come; returns how many processes were ended, or -1 when the lock stayed taken."""
    ended = end(lock, attempt)
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if take(lock) is not None:
            raise_record(record, attempt)
            return ended
        named = holder(lock)
        if named is not None and (named["attempt"] > attempt or named["lives_on"]):
            return ended  # a newer attempt is at work, whose fence is the higher one; or an upgrade, which bars us all
        ended += end(lock, attempt)
        time.sleep(PAUSE_S)
    return -1


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
