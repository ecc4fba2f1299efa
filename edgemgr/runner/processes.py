"""Processes of one work directory: found by its path in their command line, and by nothing else.

Killing ansible-playbook's process group is not enough: since ansible-core 2.19 every fork leads a session of its
own (executor/process/worker.py), and so do the shared ssh connections that stay behind.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

END_WITHIN_S = 5.0
_PAUSE_S = 0.02
_PROC = Path("/proc")


def end_processes(directory: Path) -> None:
    """Kill every ansible and ssh process that names a file of the directory; return once they are gone.

    Bounded by `END_WITHIN_S`: a process that hangs in the kernel is left behind, killed.
    """
    deadline = time.monotonic() + END_WITHIN_S
    while _kill_all(directory) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot (proc(5), stat, field 22); None: there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state == b"Z" else int(fields[18])


def _kill_all(directory: Path) -> bool:
    marker = os.fsencode(f"{directory}/")
    found = False
    for pid in _pids():
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:  # the command line is read while the handle is held: a number that was reused cannot be hit
            if _belongs(pid, marker):
                found = True
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            continue
        finally:
            os.close(handle)
    return found


def _pids() -> Iterator[int]:
    own = os.getpid()
    return (int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit() and int(entry.name) != own)


def _belongs(pid: int, marker: bytes) -> bool:
    words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    if not any(marker in word for word in words):
        return False
    if words[0].startswith(b"ssh: "):  # the title of a shared connection: `ssh: <ControlPath> [mux]`
        return True
    names = {os.path.basename(word) for word in words[:2]}  # noqa: PTH119 - bytes, and no file is meant
    return b"ssh" in names or b"ansible-playbook" in names
