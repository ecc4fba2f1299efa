"""Long-lived processes of the lab: started apart from us, and found again later without mistaking a reused pid.

A pid alone names nothing: it is reused. A pid with its start time and the boot of the machine names one process,
and signals go through a pidfd, so that none can hit a stranger (pidfd_open(2), proc_pid_stat(5) field 22).
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgemgr.settings import program_environment

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, never another: `started_ticks` is its start in clock ticks since the boot `boot_id`."""

    pid: int
    started_ticks: int
    boot_id: str


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a living process; None when there is none, or only its unread exit status."""
    try:
        # The name, in parentheses, may hold blanks and parentheses itself: count from the last one.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    boot_id = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ProcessIdentity(pid, int(fields[19]), boot_id)


def is_alive(process: ProcessIdentity | None) -> bool:
    """Whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def start(arguments: list[str], *, log: Path, variables: dict[str, str] | None = None) -> ProcessIdentity:
    """Start a program in a session of its own, its output appended to `log`; it survives us.

    Args:
        arguments: the program by its full path, and its arguments.
        log: file for standard output and error.
        variables: environment besides the allow-list.
    """
    pid = os.posix_spawn(
        arguments[0],
        arguments,
        {**program_environment(), **(variables or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
    )
    return identify(pid) or ProcessIdentity(pid, 0, "")  # ended already: an identity that is never alive


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    with suppress(OSError):
        return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    return []


def kill(process: ProcessIdentity, *, within_s: float = 10.0) -> bool:
    """Kill a process at once (SIGKILL) and wait for its end.

    Returns:
        Whether it is gone; False after `within_s` seconds.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if identify(process.pid) == process:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            if not ended.poll(within_s * 1000):
                return False
    finally:
        os.close(handle)
    with suppress(ChildProcessError):  # ours only when this very process started it
        os.waitpid(process.pid, os.WNOHANG)
    return True
