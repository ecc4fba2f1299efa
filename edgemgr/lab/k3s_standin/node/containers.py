"""Containers that run: one sleeping process a pod, with the name and the arguments of containerd's shim.

They are no children of the service, so they outlive it, as containers outlive k3s; `k3s-killall.sh` finds them by
the path `.../k3s/data/HASH/bin/containerd-shim` in their arguments, as it finds real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

from .environment import RUN_DIR, below_root, write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class Containers:
    """The processes of the node's pods, by the pod's uid."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "agent/containerd/containers.json"

    def running(self) -> dict[str, dict[str, Any]]:
        """Pod uid → what is known of its container, for those whose process lives."""
        known: dict[str, dict[str, Any]] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return {uid: entry for uid, entry in known.items() if _lives(entry["pid"], entry["id"])}

    def start(self, pod: dict[str, Any], attempt: int) -> dict[str, Any]:
        """Start a pod's process and say what it is.

        Raises:
            OSError: it cannot be started.
        """
        uid, identity = pod["metadata"]["uid"], os.urandom(32).hex()
        shim = self._data_dir / "data/current/bin/containerd-shim-runc-v2"
        # The real path: an upgrade moves `current`, and the running shim keeps its own.
        program = str(shim.resolve())
        arguments = [program, "-namespace", "k8s.io", "-id", identity]
        arguments += ["-address", str(below_root(f"{RUN_DIR}/containerd/containerd.sock"))]
        null = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in range(3)]
        pid = os.posix_spawn(program, arguments, {}, file_actions=null, setsid=True)
        entry = {
            "pid": pid,
            "id": identity,
            "pod": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "containers": [[c["name"], c["image"]] for c in pod["spec"]["containers"]],
            "created": time.time(),
            "attempt": attempt,
        }
        self._save({**self.running(), uid: entry})
        return entry

    def stop(self, uid: str) -> None:
        """End a pod's process."""
        running = self.running()
        entry = running.pop(uid, None)
        if entry is not None:
            os.kill(entry["pid"], signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # not ours: from before this start
                os.waitpid(entry["pid"], 0)
            self._save(running)

    def _save(self, entries: dict[str, dict[str, Any]]) -> None:
        write_private(self._path, json.dumps(entries))


def _lives(pid: int, identity: str) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # our own child, which has ended, would else stay a zombie
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 — the hot path of every tick
            return identity.encode() in file.read()
    except OSError:
        return False
