"""k3s' service as systemd sees it, and starting it within bounds."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError

PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "NeedDaemonReload")
COMMAND_TIMEOUT_S = 150  # systemd gives a service 90 s to stop before it kills it
POLL_S = 0.5
ASK_TRIES = 20  # with POLL_S between them: what systemd takes at most to execute itself anew
CRASHES = 3  # restarts in one start that show a loop
LOG_LINES = 12

#: How lines begin that systemd itself writes about the service: none of them says why it ended.
_SYSTEMD = re.compile(r"k3s\.service:|This usually indicates|(Started|Starting|Stopped|Stopping|Failed to start) k3s ")
_UNKNOWN_KEY = re.compile(r"flag provided but not defined: -+([a-z0-9-]+)")


def systemctl(*arguments: str) -> str:
    """Run systemctl and fail with its own words."""
    done = subprocess.run(
        ("systemctl", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise EdgeError(
            "E-K3S-SERVICE",
            "`systemctl {0}` ended with {1}: {2}".format(" ".join(arguments), done.returncode, done.stderr.strip()),
            f"Look at `systemctl status {layout.UNIT}` on the node.",
        )
    return done.stdout


def state() -> dict[str, str]:
    """The service's properties as texts; a unit that does not exist has LoadState `not-found`."""
    shown = _show()
    found = dict.fromkeys(PROPERTIES, "")
    for line in shown.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            found[name] = value
    return found


def _show() -> str:
    """Ask systemd, and again while it gives no answer, which says nothing of the service: it executes itself anew when
    its package is upgraded, and may be gone before this program when the machine goes down.
    """
    command = ("show", layout.UNIT, *["--property=" + name for name in PROPERTIES])
    for _ in range(ASK_TRIES - 1):
        try:
            return systemctl(*command)
        except EdgeError:
            time.sleep(POLL_S)
    return systemctl(*command)


def restarts() -> int:
    """How often systemd has restarted the service since it was last started by hand."""
    return int(state()["NRestarts"] or 0)


def log_tail(lines: int = LOG_LINES) -> list[str]:
    """The last lines that k3s has logged."""
    done = subprocess.run(
        ["journalctl", "--unit", layout.UNIT, "--lines", str(lines), "--output", "cat", "--no-pager"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
        errors="replace",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if line.strip()]


def start(
    verb: str,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """`start` or `restart` the service and wait until it says that it is ready.

    systemctl itself would wait for ever (TimeoutStartSec=0), so the state is watched beside it; the client is ended
    when the time is over, the start itself goes on under systemd.

    Raises:
        EdgeError: k3s keeps crashing, does not know an option, or is not ready in time; with its last log lines.
    """
    client = subprocess.Popen(
        ["systemctl", verb, layout.UNIT], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = clock() + timeout_s
    crashes_before = None
    try:
        while True:
            ended = client.poll() is not None
            now = state()
            crashes = int(now["NRestarts"] or 0)
            # A manual start may or may not set the counter back: only what grows from here on counts.
            crashes_before = crashes if crashes_before is None else min(crashes, crashes_before)
            if ended and now["ActiveState"] == "active" and now["SubState"] == "running":
                return
            if crashes - crashes_before >= CRASHES:
                raise _crashed(crashes - crashes_before)
            if clock() >= deadline:
                raise EdgeError(
                    "E-K3S-START",
                    "k3s was not up after {0:g} s ({1}, {2})".format(timeout_s, now["ActiveState"], now["SubState"]),
                    "It may still come up; the next attempt waits again. Else read `journalctl -u k3s` on the node.",
                    BUDGETED,
                    edge_log=log_tail(),
                )
            sleep(POLL_S)
    finally:
        if client.poll() is None:
            client.terminate()
        client.wait()


def _crashed(times: int) -> EdgeError:
    log = log_tail()
    text = "\n".join(log)
    unknown = _UNKNOWN_KEY.search(text)
    if unknown:
        return EdgeError(
            "E-K3S-OPTION",
            f"this version of k3s does not know the option {unknown.group(1)!r} of its configuration",
            "Take the option out of the file given with --config, or choose a k3s version that has it.",
            NEVER,
            edge_log=log,
        )
    own = [line for line in log if not _SYSTEMD.match(line)]
    fatal = [line for line in own if "level=fatal" in line or "extracting data" in line]
    reason = fatal[-1] if fatal else (own[-1] if own else "it logged nothing")
    return EdgeError(
        "E-K3S-CRASH",
        f"k3s crashed {times} times while starting: {reason[:500]}",
        "Read `journalctl -u k3s` on the node; the last lines are in this attempt's log.",
        BUDGETED,
        edge_log=log,
    )
