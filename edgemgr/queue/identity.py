"""Who a worker is, and whether another one of this machine still lives."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from edgemgr import __version__
from edgemgr.model.worker import Worker


def boot_id() -> str:
    """Changes with every start of the machine (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started_at_tick(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none (or only its remains)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else int(started)


def new_worker() -> Worker:
    """This process, as a worker that is not registered yet."""
    pid = os.getpid()
    return Worker(
        id=f"{socket.gethostname()}-{pid}-{secrets.token_hex(3)}",
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        pid_started=started_at_tick(pid) or 0,
        version=__version__,
    )


def is_dead(worker: Worker) -> bool:
    """Whether a worker of this machine is certainly gone. Of another machine only its silence can tell."""
    if worker.host != socket.gethostname():
        return False
    return worker.boot_id != boot_id() or started_at_tick(worker.pid) != worker.pid_started
