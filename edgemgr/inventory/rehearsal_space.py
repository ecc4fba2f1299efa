"""Namespaces of this machine for one rehearsal: whether they are to be had, and the program that runs inside.

They are made by `unshare`: an empty network, processes, mounts, names and shared memory of their own. Where edgemgr is
not root they belong to a user namespace. They end with the process that keeps them, and nothing in them outlives it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import IO, Any

from edgemgr.inventory.rehearsal_faults import broken, no_namespaces, no_program
from edgemgr.settings import program_environment

_PROGRAMS = ("unshare", "ip", "chroot")
_OWN = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child=KILL")
_AS_USER = ("--user", "--map-root-user", *_OWN)
_INSIDE = Path(__file__).with_name("rehearsal_inside.py")
_PROBE_TIMEOUT_S = 20
_END_TIMEOUT_S = 10


def find_namespaces() -> tuple[str, ...]:
    """The options of `unshare` that give this process its namespaces.

    Raises:
        RehearsalError: a program is missing (E-REHEARSE-PROGRAM), or the machine gives none (E-REHEARSE-NAMESPACES).
    """
    path = program_environment()["PATH"]
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        raise no_program(missing)
    why = ""
    for options in (_OWN, _AS_USER) if os.geteuid() == 0 else (_AS_USER,):
        try:
            # /proc as well: it is what containers often refuse.
            done = subprocess.run(
                ["unshare", *options, "--mount-proc", "true"],
                env=program_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            why = str(exc)
            continue
        if done.returncode == 0:
            return options
        why = " ".join(done.stderr.split())[:200] or f"unshare ends with status {done.returncode}"
    raise no_namespaces(why)


def run_inside(options: tuple[str, ...], order: Mapping[str, Any], *, within_s: float) -> dict[str, Any]:
    """Carry out an order in namespaces of its own; what `rehearsal_inside` reports of it.

    However this ends, by an interrupt too, everything that was started there has ended.

    Raises:
        RehearsalError: they could not be made, or there is no report by then (E-REHEARSE-SETUP).
    """
    command = ["unshare", *options, sys.executable, "-I", "-S", str(_INSIDE)]
    try:
        process = subprocess.Popen(
            command,
            env=program_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt is for us: we end it
        )
    except OSError as exc:
        raise broken(f"unshare: {exc.strerror}") from exc
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("both are pipes")
    timer = Timer(within_s, process.kill)  # the kernel ends what it keeps, by --kill-child
    timer.start()
    try:
        said = _exchange(process.stdin, process.stdout, order)
    finally:
        timer.cancel()
        _end(process, process.stdin)
        process.stdout.close()
    return _read_report(said)


def _exchange(stdin: IO[bytes], stdout: IO[bytes], order: Mapping[str, Any]) -> bytes:
    with suppress(BrokenPipeError):  # it has ended already, and what it said tells why
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()  # and it stays open: when it closes, everything inside ends
    return stdout.read()


def _end(process: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stdin.close()
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_report(said: bytes) -> dict[str, Any]:
    lines = said.decode(errors="replace").strip().splitlines() or ["it said nothing within its time"]
    try:
        report = json.loads(lines[-1])
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise broken(lines[-1][:300])
    if report["outcome"] == "setup":
        raise broken(str(report["said"])[:300])
    return report
