"""The installed `edgemgr` and its processes, as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "edgemgr"


def until(what: str, condition: Callable[[], Any], timeout_s: float, pause_s: float = 0.2) -> Any:
    """Wait for something that another process does; returns what `condition` gave, fails when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            message = f"not within {timeout_s} s: {what}"
            raise AssertionError(message)
        time.sleep(pause_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Appliance:
    """One state directory, and the commands and processes that work on it."""

    def __init__(self, directory: Path, lab_directory: Path, **settings: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EDGEMGR_")},
            "EDGEMGR_STATE_DIR": str(directory / "state"),
            "EDGEMGR_RUNTIME_DIR": str(directory / "run"),
            "EDGEMGR_LAB_DIR": str(lab_directory),
            "EDGEMGR_CONFIG": str(directory / "config.toml"),
            "EDGEMGR_LEASE_S": "10",
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **settings,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def log(self) -> Path:
        return self.directory / "serve.log"

    def run(self, *arguments: str, status: int = 0, timeout_s: float = 300, text: str | None = None) -> str:
        """Run a command; returns its standard output. Fails if it ends with another status."""
        done = self.attempt(*arguments, timeout_s=timeout_s, text=text)
        assert done.returncode == status, (
            f"edgemgr {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.tail()}"
        )
        return done.stdout

    def attempt(
        self, *arguments: str, timeout_s: float = 300, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever it ends with."""
        return subprocess.run(
            [str(PROGRAM), *arguments],
            env=self.environment,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of a list command."""
        found: list[dict[str, Any]] = json.loads(self.run(*arguments, "-o", "json"))["items"]
        return found

    def site(self, name: str) -> dict[str, Any]:
        """A site as `site list` shows it."""
        (found,) = [item for item in self.items("site", "list") if item["name"] == name]
        return found

    def operation(self, site: str) -> dict[str, Any]:
        """The newest operation of a site."""
        return self.items("operation", "list", site, "--limit", "1")[0]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that goes on; its output is kept in the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(PROGRAM), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """Start `edgemgr serve` and wait until it works."""
        before = self.log.stat().st_size if self.log.exists() else 0
        process = self.start("serve", "--listen", f"127.0.0.1:{self.port}")
        until("a worker has started", lambda: re.search(rb"worker \S+ started", self.log.read_bytes()[before:]), 60)
        return process

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9 of one process, its children left to themselves."""
        process.kill()
        process.wait(timeout=30)
        self._processes.remove(process)

    def close(self) -> None:
        """End whatever was started here."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        self._processes.clear()
