"""What a set of processes takes: CPU time of all that ever ran in it, and memory while it runs.

A control group is the account: a process is born into its parent's, and what it has used stays in the group's sum after
its end, reaped or not (cgroup-v1/cpuacct and cgroup-v2 in the kernel's documentation). The sites, which run on the same
machine, have an account of their own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sampler import Sampler

SAMPLE_S = 0.5
END_WITHIN_S = 10.0
_PROC = Path("/proc")


class Account:
    """One control group of this name, made here and removed by `close`."""

    def __init__(self, name: str) -> None:
        hierarchy, self._is_v1 = _hierarchy()
        self._home = hierarchy / _own_group(is_v1=self._is_v1)
        self._group = hierarchy / name
        self._group.mkdir(exist_ok=True)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this process starts meanwhile belongs to the account."""
        self._enter(self._group)
        try:
            yield
        finally:
            self._enter(self._home)

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all processes that are or were in it."""
        if self._is_v1:
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        lines = (line.split() for line in (self._group / "cpu.stat").read_text().splitlines())
        return int(dict(lines)["usage_usec"]) / 1e6

    def pids(self) -> list[int]:
        """The processes that are in it."""
        return [int(line) for line in (self._group / "cgroup.procs").read_text().split()]

    def memory_bytes(self) -> int:
        """Memory of the processes in it; what several share is counted once in all (PSS, proc_pid_smaps(5))."""
        return sum(map(_pss_bytes, self.pids()))

    def close(self) -> None:
        """End what is left in it, and remove it."""
        deadline = time.monotonic() + END_WITHIN_S
        while self._group.exists() and time.monotonic() < deadline:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(OSError):  # busy until the last process is gone
                self._group.rmdir()
            time.sleep(0.05)

    @staticmethod
    def _enter(group: Path) -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))


class Peak(Sampler):
    """The largest memory of an account while the block runs, looked at every `SAMPLE_S`."""

    def __init__(self, account: Account) -> None:
        super().__init__(SAMPLE_S, self._take)
        self._account = account
        self.bytes = 0

    def _take(self) -> None:
        self.bytes = max(self.bytes, self._account.memory_bytes())


def machine_busy_s() -> float:
    """CPU seconds that all processors of this machine have worked since its boot (proc_stat(5))."""
    fields = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    idle, iowait, steal = fields[3], fields[4], fields[7]
    return (sum(fields[:8]) - idle - iowait - steal) / os.sysconf("SC_CLK_TCK")


def process_cpu_s(pid: int) -> float:
    """CPU seconds of one living process, without its children (proc_pid_stat(5), fields 14 and 15)."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_bytes(pid: int) -> int:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has just ended
        pass
    return 0


def _hierarchy() -> tuple[Path, bool]:
    """Where groups are made: version 1's accounting, else version 2."""
    mounts = [line.split() for line in (_PROC / "mounts").read_text().splitlines()]
    for _, place, kind, options, *_ in mounts:
        if kind == "cgroup" and "cpuacct" in options.split(","):
            return Path(place), True
    return next(Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"), False


def _own_group(*, is_v1: bool) -> str:
    for line in (_PROC / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(",") if is_v1 else controllers == "":
            return path.lstrip("/")
    return ""
