"""The machine's own programs that the lab needs: found, run with a time limit, and explained when they fail."""

from __future__ import annotations

import os
import shutil
import subprocess

from edgemgr.errors import LabError
from edgemgr.settings import program_environment

#: Program -> the Debian package that brings it.
PACKAGES = {
    "apt-config": "apt",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


def require_root() -> None:
    """Refuse early when namespaces and mounts cannot be made.

    Raises:
        LabError: E-LAB-ROOT, this process is not root.
    """
    if os.geteuid() != 0:
        raise LabError("the lab needs root", hint="Run the same command with sudo.", code="E-LAB-ROOT")


def require_programs(*programs: str) -> None:
    """Refuse early when a program is missing.

    Raises:
        LabError: E-LAB-PROGRAM, names every missing program and the Debian packages that bring them.
    """
    path = program_environment()["PATH"]
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        raise LabError(
            f"the lab needs {', '.join(missing)}, not found on this machine",
            hint=f"apt-get install {packages}",
            code="E-LAB-PROGRAM",
        )


def run_program(*arguments: str, doing: str, input_text: str | None = None, timeout_s: float = 30.0) -> str:
    """Run a program to its end and return its standard output.

    Args:
        arguments: the program and its arguments; no secrets, they show in the process list.
        doing: what is being done, for the message.
        input_text: what the program reads on standard input.
        timeout_s: seconds until it is killed.

    Raises:
        LabError: E-LAB-PROGRAM-FAILED, with the program's own words.
    """
    command = " ".join(arguments[:3])
    try:
        done = subprocess.run(
            arguments,
            input=input_text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=program_environment(),
        )
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{doing}: `{command}` did not end within {timeout_s:g} s", code="E-LAB-PROGRAM-FAILED") from exc
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())[-400:]
        raise LabError(
            f"{doing}: `{command}` ended with status {done.returncode}: {words}", code="E-LAB-PROGRAM-FAILED"
        )
    return done.stdout
