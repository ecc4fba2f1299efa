"""Processes of one work directory: found by its path in their command line, and by nothing else.

Killing ansible-playbook's process group is not enough: since ansible-core 2.19 every fork leads a session of its
own (executor/process/worker.py), and so do the shared ssh connections that stay behind.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

END_WITHIN_S = 5.0
_PAUSE_S = 0.02
_PROC = Path("/proc")
_SSH_NAMES = frozenset({b"ssh", b"ssh_bounded.sh"})


def end_processes(directory: Path) -> None:
    """Kill every ansible and ssh process that names a file of the directory; return once they are gone.

    Bounded by `END_WITHIN_S`: a process that hangs in the kernel is left behind, killed.
    """
    marker = os.fsencode(f"{directory}/")
    deadline = time.monotonic() + END_WITHIN_S
    while _kill(lambda words: _belongs(words, marker)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)


def cut_connections(directory: Path, aliases: Collection[str], sockets: Collection[Path]) -> None:
    """Kill the ssh processes of some sites of the directory, the shared connections too; Ansible itself goes on.

    A fork must not be killed: the strategy would wait for its result for ever. Without its ssh it has one.
    """
    marker = os.fsencode(f"{directory}/")
    words_of_a_site = {os.fsencode(alias) for alias in aliases}
    titles = {b"ssh: %s [mux]" % os.fsencode(socket) for socket in sockets}

    def is_theirs(words: list[bytes]) -> bool:
        return words[0] in titles or (
            bool(_names(words) & _SSH_NAMES)
            and any(marker in word for word in words)
            and not words_of_a_site.isdisjoint(words)
        )

    _kill(is_theirs)


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot (proc(5), stat, field 22); None: there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state == b"Z" else int(fields[18])


def _kill(is_meant: Callable[[list[bytes]], bool]) -> bool:
    found = False
    for pid in _pids():
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:  # the command line is read while the handle is held: a number that was reused cannot be hit
            if is_meant((_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")):
                found = True
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            continue
        finally:
            os.close(handle)
    return found


def _pids() -> Iterator[int]:
    own = os.getpid()
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != own)


def _belongs(words: list[bytes], marker: bytes) -> bool:
    if not any(marker in word for word in words):
        return False
    if words[0].startswith(b"ssh: "):  # the title of a shared connection: `ssh: <ControlPath> [mux]`
        return True
    return bool(_names(words) & (_SSH_NAMES | {b"ansible-playbook"}))


def _names(words: list[bytes]) -> set[bytes]:
    return {os.path.basename(word) for word in words[:2]}  # noqa: PTH119 - bytes, and no file is meant
