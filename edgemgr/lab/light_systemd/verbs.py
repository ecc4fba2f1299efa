"""What can be done with a service of a light site."""

from __future__ import annotations

import os
import signal
import sys
import time

from . import NAMED
from .supervisor import Supervisor
from .unit import Unit

NOT_FOUND = 5  # systemctl's status for a unit that it does not know


def start(unit: Unit, *, wait: bool = True) -> int:
    """Start a service and wait until it is ready or has failed, as `systemctl start` does."""
    if unit.path is None:
        sys.stderr.write(f"Failed to start {unit.name}: Unit {unit.name} not found.\n")
        return NOT_FOUND
    if not unit.commands("ExecStart") or unit.option("Type", "simple") not in ("simple", "exec", "notify", "oneshot"):
        sys.stderr.write(f"Failed to start {unit.name}: not a kind of unit that this stand-in can run ({NAMED}).\n")
        return 1
    lock = unit.lock()
    if lock is not None:
        state = {"ActiveState": "activating", "SubState": "start", "MainPID": "0", "NRestarts": "0"}
        state |= {"Result": "success", "ExecMainStatus": "0", "Job": "running"}
        unit.write_state(state)
        sys.stdout.flush()
        if os.fork() == 0:
            detach()
            Supervisor(unit, state | {"Supervisor": str(os.getpid())}).run()  # the lock ends with this process
            os._exit(0)
        os.close(lock)
    while wait and (state := unit.state())["ActiveState"] == "activating" and state["Job"] == "running":
        time.sleep(0.05)
    if wait and unit.state()["Job"] != "done":
        sys.stderr.write(
            f"Job for {unit.name} failed because the control process exited with error code.\n"
            f'See "systemctl status {unit.name}" and "journalctl -xeu {unit.name}" for details.\n'
        )
        return 1
    return 0


def detach() -> None:
    """Leave the caller's session, terminal and output."""
    os.setsid()
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)


def stop(unit: Unit) -> int:
    """Stop a service and wait for it."""
    while unit.is_supervised():
        supervisor = int(unit.state().get("Supervisor", "0"))
        if supervisor:
            os.kill(supervisor, signal.SIGTERM)
        time.sleep(0.05)
    if unit.state()["ActiveState"] == "failed":
        return reset_failed(unit)
    if unit.path is None and not (unit.state_dir / "state.json").exists():
        sys.stderr.write(f"Failed to stop {unit.name}: Unit {unit.name} not loaded.\n")
        return NOT_FOUND
    return 0


def reset_failed(unit: Unit) -> int:
    """Forget a failure."""
    if unit.state()["ActiveState"] == "failed":
        (unit.state_dir / "state.json").unlink(missing_ok=True)
    return 0


def enable(unit: Unit, *, on: bool) -> int:
    """Make or remove the links that start a service at boot."""
    if unit.path is None:
        verb = "enable" if on else "disable"
        sys.stderr.write(f"Failed to {verb} unit: Unit file {unit.name} does not exist.\n")
        return 1
    for link in unit.wants():
        if on and not link.is_symlink():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(unit.path)
            sys.stderr.write(f"Created symlink {link} -> {unit.path}.\n")
        elif not on and link.is_symlink():
            link.unlink()
            sys.stderr.write(f"Removed {link}.\n")
    return 0


def properties(unit: Unit) -> dict[str, str]:
    """Return what `systemctl show` knows."""
    state = unit.state()
    return {
        "Id": unit.name,
        "Names": unit.name,
        "Description": (unit.options.get("Unit.Description") or [unit.name])[-1],
        "Type": unit.option("Type", "simple"),
        "LoadState": "loaded" if unit.path else "not-found",
        "ActiveState": state["ActiveState"],
        "SubState": state["SubState"],
        "MainPID": state["MainPID"],
        "NRestarts": state["NRestarts"],
        "Result": state["Result"],
        "ExecMainStatus": state.get("ExecMainStatus", "0"),
        "UnitFileState": unit.file_state(),
        "FragmentPath": str(unit.path or ""),
        "NeedDaemonReload": "no",
    }
