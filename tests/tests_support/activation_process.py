"""The activation program as a process of its own, on a node below a directory: `activation_process.py ROOT run|resume`.

k3s is a process, too: it writes to its SQLite file until it is killed, and notes what was acknowledged. With
`ROOT/fault` the new version never gets Ready. `activation_process.py ROOT k3s VERSION` is that process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "playbooks/collections"))

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_forward,
    activation_main,
    activation_paths,
    activation_verify,
    layout,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Clock, Cluster, Node, Services
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError

NEW_MINOR = "v1.34"


def move_paths(root: Path) -> None:
    """All paths of the node below a directory."""
    for name, value in list(vars(layout).items()):
        if isinstance(value, str) and value.startswith("/") and not name.startswith("_"):
            setattr(layout, name, f"{root}{value}")


def serve(root: Path, version: str) -> int:
    """k3s: until it is killed."""
    directory = root / "var/lib/rancher/k3s/server/db"
    is_new = not (directory / "state.db").exists()
    directory.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(directory / "state.db", isolation_level=None, timeout=10)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name, value)")
    if is_new:
        with (root / "clusters").open("a") as clusters:
            clusters.write("one more\n")
    newest = database.execute("SELECT value FROM kine ORDER BY id DESC LIMIT 1").fetchone()
    if newest and newest[0] > version:
        with (root / "clusters").open("a") as clusters:
            clusters.write(f"{version} met a datastore of {newest[0]}\n")
        return 1
    with (root / "acknowledged").open("a", buffering=1) as acknowledged:
        while True:
            number = database.execute("INSERT INTO kine (name, value) VALUES ('row', ?)", (version,)).lastrowid
            acknowledged.write(f"{number} {version}\n")
            time.sleep(0.004)


class ProcessServices(Services):
    """systemd, as far as it keeps one process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._children: list[subprocess.Popen[bytes]] = []

    def _pid(self) -> int:
        for child in self._children:
            child.poll()
        with contextlib.suppress(OSError, ValueError):
            pid = int((self._root / "k3s.pid").read_text())
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                return pid
        return 0

    def is_running(self) -> bool:
        return self._pid() != 0

    def restarts(self) -> int:
        return 0

    def start(self, timeout_s: float) -> None:
        if Path(activation_paths.hold()).exists():
            raise EdgeError("E-K3S-START", f"held, after {timeout_s:g} s", "")
        if self.is_running():
            return
        version = Path(layout.K3S).read_text().partition(" of ")[2]

        def introduce_oneself() -> None:
            # By the child, as a process that nobody knows of would be a second k3s: systemd knows its own.
            (self._root / "k3s.pid").write_text(str(os.getpid()))

        self._children.append(
            subprocess.Popen(
                [sys.executable, __file__, str(self._root), "k3s", version],
                start_new_session=True,
                preexec_fn=introduce_oneself,  # noqa: PLW1509 - no threads here
            )
        )

    def stop(self) -> None:
        pid = self._pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
        while self._pid():
            time.sleep(0.005)

    def kill_containers(self) -> None:
        pass


class ProcessCluster(Cluster):
    """Ready at once, but for the fault."""

    def __init__(self, root: Path, services: Services) -> None:
        self._root, self._services = root, services

    def look(self, site: str, version: str) -> dict[str, Any]:
        unmet = []
        if not self._services.is_running():
            unmet = [["E-VERIFY-SERVICE", f"k3s of {site} does not run", "failing"]]
        elif version.startswith(NEW_MINOR) and (self._root / "fault").exists():
            unmet = [["E-VERIFY-NODE", "the node is not Ready", "failing"]]
        return {"unmet": unmet, "workloads": {}, "helm": [], "images": [], "dns": False}


def main() -> int:
    root, verb = Path(sys.argv[1]), sys.argv[2]
    if verb == "k3s":
        return serve(root, sys.argv[3])
    move_paths(root)
    activation_forward.RESTORE_MARGIN_BYTES = 4096
    activation_verify.POLL_S = 0.02
    activation_main.PAUSE_S = 0.02
    services = ProcessServices(root)
    activation_main.carry_out(verb == "resume", Node(Clock(), services, ProcessCluster(root, services)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
