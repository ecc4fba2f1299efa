"""The supervisor of one service of a light site: a small process forked from `systemctl start`."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress

from . import NAMED
from .unit import LOG_DIR, Unit, seconds

LOG_LIMIT_BYTES = 4 * 1024 * 1024
EXIT_EXEC = 203  # systemd's status of a command that could not be started


class Supervisor:
    """Keeps one service: starts it, hears when it is ready, starts it again, and stops it."""

    def __init__(self, unit: Unit, state: dict[str, str]) -> None:
        self.unit = unit
        self.known = state
        self.stopping = False
        self.ready = False
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        signal.set_wakeup_fd(self.waker)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        LOG_DIR.mkdir(parents=True, exist_ok=True)

    def tell(self, active: str, sub: str, **more: str) -> None:
        """Change the state that others see."""
        self.known.update(ActiveState=active, SubState=sub, **more)
        self.unit.write_state(self.known)

    def run(self) -> None:
        """Keep the service until it is stopped or ends for good."""
        restart, kind = self.unit.option("Restart", "no"), self.unit.option("Type", "simple")
        while True:
            result = self.one_life(kind)
            failed = result != "success"
            again = restart == "always" or (restart.startswith("on-") and failed and restart != "on-success")
            if self.stopping or not again:
                break
            job = "failed" if self.known["Job"] == "running" else self.known["Job"]
            self.tell("activating", "auto-restart", MainPID="0", Result=result, Job=job)
            self.wait(seconds(self.unit.option("RestartSec", "100ms")))
            if self.stopping:
                break
            self.known["NRestarts"] = str(int(self.known["NRestarts"]) + 1)
        if kind == "oneshot" and not failed and self.unit.option("RemainAfterExit") in ("yes", "true", "1"):
            self.tell("active", "exited", MainPID="0", Job="done")
            while not self.stopping:
                self.wait(None)
            for words, _ in self.unit.commands("ExecStop"):
                self.call(words)
        for words, _ in self.unit.commands("ExecStopPost"):
            self.call(words)
        self.settle("success" if self.stopping else result)

    def settle(self, result: str) -> None:
        """Tell the end of it all; a transient unit goes, and with --collect its failure too."""
        failed = result != "success"
        job = self.known["Job"]
        if job == "running":
            job = "failed" if failed or self.stopping else "done"
        if self.unit.is_transient and self.unit.path and (not failed or self.unit.collects):
            self.unit.path.unlink(missing_ok=True)
            failed, result = False, "success"
        phase = ("failed", "failed") if failed else ("inactive", "dead")
        self.tell(*phase, MainPID="0", Result=result, Job=job)

    def one_life(self, kind: str) -> str:
        """Start the service once and stay until its main process has ended; the result as systemd names it."""
        self.tell("activating", "start-pre")
        for words, may_fail in self.unit.commands("ExecStartPre"):
            if self.call(words) != 0 and not may_fail:
                return "exit-code"
        result = "success"
        for words, may_fail in self.unit.commands("ExecStart"):  # a oneshot may have several
            result = "success" if self.main_process(words, kind) == "success" or may_fail else "exit-code"
            if result != "success" or self.stopping:
                break
        return result

    def main_process(self, words: list[str], kind: str) -> str:
        """Run the main process to its end."""
        notify = self.unit.state_dir / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(notify))
            ear.setblocking(False)
            try:
                main = subprocess.Popen(words, **self.surroundings(), start_new_session=True)  # type: ignore[call-overload]
            except OSError as exc:
                self.write_log(f"{words[0]}: {exc.strerror}")
                return "exit-code"
            self.ready = kind not in ("notify", "oneshot")
            phase = ("active", "running") if self.ready else ("activating", "start")
            self.tell(*phase, MainPID=str(main.pid), **({"Job": "done"} if self.ready else {}))
            limit_s = seconds(self.unit.option("TimeoutStartSec", "90s" if kind == "notify" else "infinity"))
            deadline = time.monotonic() + (limit_s or float("inf"))
            ended = os.pidfd_open(main.pid)
            try:
                while main.poll() is None and not self.stopping:
                    left_s = None if self.ready or deadline == float("inf") else deadline - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        self.end(main)
                        return "timeout"
                    self.wait(left_s, ended, ear)
                    self.hear(ear)
            finally:
                os.close(ended)
            if main.poll() is None:
                self.tell("deactivating", "stop-sigterm")
                self.end(main)
                return "success"
        self.known["ExecMainStatus"] = str(abs(main.returncode))
        if main.returncode == 0:
            return "success" if self.ready or kind == "oneshot" else "protocol"
        return "exit-code" if main.returncode > 0 else "signal"

    def hear(self, ear: socket.socket) -> None:
        """Read what the service said over sd_notify(3)."""
        while True:
            try:
                lines = ear.recv(4096).decode(errors="replace").splitlines()
            except BlockingIOError:
                return
            if "READY=1" in lines and not self.ready:
                self.ready = True
                self.tell("active", "running", Job="done")

    def wait(self, timeout_s: float | None, *others: int | socket.socket) -> None:
        """Sleep until a signal, one of the others, or the end of the time."""
        ready, _, _ = select.select([self.wake, *others], [], [], timeout_s)
        if self.wake in ready:
            os.read(self.wake, 64)

    def end(self, main: subprocess.Popen[bytes]) -> None:
        """Stop the main process (KillMode=process) or all of its session's first group; kill after the time given."""
        for words, _ in self.unit.commands("ExecStop"):
            self.call(words)
        alone = self.unit.option("KillMode", "control-group") == "process"
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(main.pid, number) if alone else os.killpg(main.pid, number)
            except ProcessLookupError:
                return
            with suppress(subprocess.TimeoutExpired):
                main.wait(min(seconds(self.unit.option("TimeoutStopSec", "90s")), 600.0))
                return

    def call(self, words: list[str]) -> int:
        """Run a command beside the main process."""
        try:
            return subprocess.run(words, **self.surroundings(), timeout=90, check=False).returncode  # type: ignore[call-overload, no-any-return]
        except (OSError, subprocess.TimeoutExpired) as exc:
            self.write_log(f"{words[0]}: {exc}")
            return EXIT_EXEC

    def surroundings(self) -> dict[str, object]:
        """Say what all processes of the service share; a log that has grown too long begins anew."""
        if self.unit.log.exists() and self.unit.log.stat().st_size > LOG_LIMIT_BYTES:
            self.unit.log.write_text("")
        log = self.unit.log.open("ab", buffering=0)
        notify = {"NOTIFY_SOCKET": str(self.unit.state_dir / "notify")}
        return {
            "stdin": subprocess.DEVNULL,
            "stdout": log,
            "stderr": log,
            "cwd": self.unit.option("WorkingDirectory", "/").lstrip("-"),
            "env": self.unit.environment() | (notify if self.unit.option("Type") == "notify" else {}),
        }

    def write_log(self, line: str) -> None:
        """Add a line of our own to the unit's output."""
        with self.unit.log.open("a") as log:
            log.write(f"{self.unit.name}: {line} ({NAMED})\n")
