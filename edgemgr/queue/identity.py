"""Who a worker is, and whether another one is certainly gone."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from edgemgr import __version__
from edgemgr.model.worker import Worker
from edgemgr.store import workers
from edgemgr.store.database import Session


def boot_id() -> str:
    """Changes with every start of the machine (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """Where our process ids count (pid_namespaces(7)): `pid:[4026531836]`."""
    return str(Path("/proc/self/ns/pid").readlink())


def started_at_tick(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none (or only its remains)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else int(started)


def new_worker(zones: Sequence[str] = ()) -> Worker:
    """This process, as a worker that is not registered yet."""
    pid = os.getpid()
    return Worker(
        id=f"{socket.gethostname()}-{pid}-{secrets.token_hex(3)}",
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        pid_namespace=pid_namespace(),
        pid_started=started_at_tick(pid) or 0,
        version=__version__,
        zones=",".join(sorted(zones)),
    )


def is_neighbour(worker: Worker) -> bool:
    """Whether a worker's process is, or was, one that we can see: of this machine and this pid namespace."""
    return (worker.boot_id, worker.pid_namespace) == (boot_id(), pid_namespace())


def is_dead(worker: Worker, *, is_local: bool = False) -> bool:
    """Whether a worker is certainly gone. Of one whose process we cannot see only its silence can tell.

    `is_local`: its database is a file of this machine, so that a worker of another boot is one of before a restart.
    """
    if is_local and worker.boot_id != boot_id():
        return True
    return is_neighbour(worker) and started_at_tick(worker.pid) != worker.pid_started


def living(session: Session) -> list[Worker]:
    """The workers that may be alive: those that neither ended nor were given up, and are not certainly gone."""
    is_local = workers.is_local(session)
    return [worker for worker in workers.running(session) if not is_dead(worker, is_local=is_local)]
