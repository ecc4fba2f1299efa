"""What an activation needs of the node beside its files: time, the service manager, and the cluster's API.

They are handed to it, so that a test can drive every step of it in milliseconds.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_unit, layout, node_facts, service
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, write_file

KILLALL_TIMEOUT_S = 180


class DeadlineOverError(EdgeError):
    """The dead man's timer has rung: whatever was going on took too long."""

    def __init__(self, after_s: float) -> None:
        super().__init__(
            "E-UPGRADE-DEADLINE",
            f"it was not finished in time ({after_s:.0f} s were left for this step)",
            "Look at the node's load and disk, or allow more time.",
            NEVER,
        )


class Clock:
    """The node's time."""

    def now(self) -> float:
        """Seconds since 1970; may be set at any time."""
        return time.time()

    def boot(self) -> tuple[str, float]:
        """Which boot this is, and for how long the node has been up, in seconds."""
        identity = node_facts.text("/proc/sys/kernel/random/boot_id").strip()
        return identity, time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    @contextlib.contextmanager
    def dead_man(self, seconds: float) -> Iterator[None]:
        """End what is inside after so many seconds, wherever it is.

        Raises:
            DeadlineOverError: the time was over.
        """
        if seconds == float("inf"):
            yield
            return

        def ring(_number: int, _frame: object) -> None:
            raise DeadlineOverError(seconds)

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class Services:
    """k3s' service."""

    def is_running(self) -> bool:
        """Whether it runs, or would by itself: between two crashes it waits for its restart."""
        return service.state()["ActiveState"] not in ("inactive", "failed")

    def restarts(self) -> int:
        """How often it has been restarted since it was started by hand."""
        return service.restarts()

    def start(self, timeout_s: float) -> None:
        """Start it and wait until it says that it is ready."""
        service.start("start", timeout_s)

    def stop(self) -> None:
        """Stop it; the containers go on."""
        service.systemctl("stop", layout.UNIT)
        if self.is_running():
            raise EdgeError("E-K3S-SERVICE", "k3s does not stop", f"Look at `systemctl status {layout.UNIT}`.")

    def kill_containers(self) -> None:
        """End every container and clear the network that they used."""
        if read_or_none(layout.KILLALL) != k3s_unit.KILLALL.encode():  # on a full disk it could not be written again
            write_file(layout.KILLALL, k3s_unit.KILLALL.encode(), 0o755)
        subprocess.run(
            [layout.KILLALL],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=KILLALL_TIMEOUT_S,
            check=False,
        )


class Cluster:
    """The cluster as its API shows it; `activation_cluster.py` has the real one."""

    def look(self, site: str, version: str) -> dict[str, Any]:
        """See `activation_workloads.compare` for the keys. Never fails."""
        raise NotImplementedError

    def resolves(self) -> bool:
        """Whether the cluster's DNS answers for a name of the cluster."""
        raise NotImplementedError

    def images(self) -> set[str] | None:
        """Names of the images that the node has; None if it cannot be asked."""
        raise NotImplementedError

    def failed_check(self, check: dict[str, Any]) -> str:
        """Carry out a check of the user; the sentence why it failed, empty when it passed."""
        raise NotImplementedError


class Node(NamedTuple):
    """All of them."""

    clock: Clock
    services: Services
    cluster: Cluster
