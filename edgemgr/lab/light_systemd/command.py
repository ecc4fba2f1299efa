"""The command lines of systemctl, journalctl and systemd-run, as far as a light site knows them."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from . import NAMED
from .unit import UNIT_DIRS, Unit
from .verbs import enable, properties, reset_failed, start, stop

NOT_ACTIVE, NO_SUCH_UNIT = 3, 4  # systemctl's statuses of is-active and status


def main() -> None:
    """Act as the program by whose name this was called."""
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if "--version" in arguments:
        sys.stdout.write(f"{program} 252 ({NAMED})\n")
        sys.exit(0)
    sys.exit({"journalctl": journalctl, "systemd-run": systemd_run}.get(program, systemctl)(arguments))


def systemctl(arguments: list[str]) -> int:
    """`systemctl VERB [UNIT…]`."""
    parser = argparse.ArgumentParser(prog="systemctl", description=NAMED)
    parser.add_argument("verb")
    parser.add_argument("units", nargs="*")
    parser.add_argument("-p", "--property", action="append", default=[])
    for flag in ("--value", "--now", "--no-block", "--quiet", "--no-pager", "--full", "--no-reload", "--system"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-q", dest="quiet", action="store_true")
    parser.add_argument("-l", dest="full", action="store_true")
    asked = parser.parse_intermixed_args(arguments)
    if asked.verb in ("daemon-reload", "daemon-reexec"):
        return 0  # unit files are read anew by every command
    if asked.verb == "is-system-running":
        sys.stdout.write("running\n")
        return 0
    units = [Unit(name) for name in asked.units]
    if not units and asked.verb == "reset-failed":
        return 0
    if not units:
        sys.stderr.write(f"Unknown or incomplete command: {asked.verb} ({NAMED}).\n")
        return 1
    statuses = [_one(asked, unit) for unit in units]
    # is-active and is-enabled are content when any unit is; everything else only when all went well.
    return min(statuses) if asked.verb in ("is-active", "is-enabled", "is-failed") else max(statuses)


def _one(asked: argparse.Namespace, unit: Unit) -> int:  # noqa: C901, PLR0911 - one case a verb
    match asked.verb:
        case "start":
            return start(unit, wait=not asked.no_block)
        case "stop":
            return stop(unit)
        case "restart":
            return _restart(unit, wait=not asked.no_block)
        case "try-restart" | "condrestart":
            return _restart(unit, wait=not asked.no_block) if unit.is_supervised() else 0
        case "enable" | "disable":
            act = (start if asked.verb == "enable" else stop) if asked.now else None
            return enable(unit, on=asked.verb == "enable") or (act(unit) if act else 0)
        case "reset-failed":
            return reset_failed(unit)
        case "show":
            return _show(asked, unit)
        case "status":
            return _status(unit)
        case "is-active":
            state = unit.state()["ActiveState"]
            return _say(asked, state, fine=state == "active", otherwise=NOT_ACTIVE)
        case "is-failed":
            state = unit.state()["ActiveState"]
            return _say(asked, state, fine=state == "failed", otherwise=1)
        case "is-enabled":
            if unit.path is None:
                sys.stderr.write(f"Failed to get unit file state for {unit.name}: No such file or directory\n")
                return 1
            state = unit.file_state()
            return _say(asked, state, fine=state in ("enabled", "static", "transient"), otherwise=1)
    sys.stderr.write(f"Unknown command verb {asked.verb} ({NAMED}).\n")
    return 1


def _say(asked: argparse.Namespace, word: str, *, fine: bool, otherwise: int) -> int:
    if not asked.quiet:
        sys.stdout.write(f"{word}\n")
    return 0 if fine else otherwise


def _restart(unit: Unit, *, wait: bool) -> int:
    if unit.is_supervised():
        stop(unit)
    return start(unit, wait=wait)


def _show(asked: argparse.Namespace, unit: Unit) -> int:
    known = properties(unit)
    wanted = [name for group in asked.property for name in group.split(",")] or list(known)
    for name in wanted:
        if name in known:
            sys.stdout.write(f"{known[name]}\n" if asked.value else f"{name}={known[name]}\n")
    if len(asked.units) > 1 and unit.name != Unit(asked.units[-1]).name:
        sys.stdout.write("\n")
    return 0


def _status(unit: Unit) -> int:
    known = properties(unit)
    if unit.path is None and known["ActiveState"] == "inactive":
        sys.stderr.write(f"Unit {unit.name} could not be found.\n")
        return NO_SUCH_UNIT
    sys.stdout.write(
        f"{unit.name} - {known['Description']} ({NAMED})\n"
        f"     Loaded: {known['LoadState']} ({known['FragmentPath']}; {known['UnitFileState']})\n"
        f"     Active: {known['ActiveState']} ({known['SubState']})\n"
        f"   Main PID: {known['MainPID']}\n\n{_log_tail(unit, 10)}"
    )
    return 0 if known["ActiveState"] == "active" else NOT_ACTIVE


def _log_tail(unit: Unit, count: int | None) -> str:
    if not unit.log.exists():
        return ""
    lines = unit.log.read_text(errors="replace").splitlines(keepends=True)
    return "".join(lines if count is None else lines[-count:])


def journalctl(arguments: list[str]) -> int:
    """`journalctl -u UNIT`: what the unit's processes wrote, without times."""
    parser = argparse.ArgumentParser(prog="journalctl", description=NAMED)
    parser.add_argument("-u", "--unit", action="append", required=True)
    parser.add_argument("-n", "--lines", type=int)
    parser.add_argument("-o", "--output", help="there is one form only: cat")
    for flag in ("--no-pager", "-x", "-e", "-q", "-b", "--quiet"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args(arguments)
    texts = [_log_tail(Unit(name), asked.lines) for name in asked.unit]
    sys.stdout.write("".join(texts) or "-- No entries --\n")
    return 0


def systemd_run(arguments: list[str]) -> int:
    """`systemd-run --unit NAME COMMAND…`: a service that exists until the next boot."""
    parser = argparse.ArgumentParser(prog="systemd-run", description=NAMED)
    parser.add_argument("--unit", "-u")
    parser.add_argument("--property", "-p", action="append", default=[])
    parser.add_argument("--setenv", "-E", action="append", default=[])
    parser.add_argument("--service-type", default="simple")
    parser.add_argument("--description", default="")
    for flag in ("--collect", "-G", "--no-block", "--quiet", "-q", "--no-ask-password", "--system"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    name = asked.unit or f"run-{time.monotonic_ns():x}"
    if Unit(name).is_supervised():
        sys.stderr.write(f"Failed to start transient service unit: Unit {Unit(name).name} already exists.\n")
        return 1
    words = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not words:
        sys.stderr.write("Command line to execute required.\n")
        return 1
    # The command is taken as it is: no variables, no specifiers.
    command = shlex.join(words).replace("%", "%%").replace("$", "$$")
    path = UNIT_DIRS[1] / Unit(name).name
    collect = "\nCollectMode=inactive-or-failed" if asked.collect or asked.G else ""
    lines = [f"[Unit]\nDescription={asked.description or command}{collect}", f"[Service]\nType={asked.service_type}"]
    lines += [f"Environment={shlex.quote(pair)}" for pair in asked.setenv] + asked.property
    path.write_text("\n".join([*lines, f"ExecStart={command}"]) + "\n")
    if not asked.quiet and not asked.q:
        sys.stderr.write(f"Running as unit: {path.name}\n")
    return start(Unit(name), wait=not asked.no_block)
