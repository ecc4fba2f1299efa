"""The command line: what is run depends on the name the file was called by, and on the first word."""

from __future__ import annotations

import os
import sys

from .built import COMMIT, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = "server, kubectl, ctr, crictl, certificate, token, etcd-snapshot, check-config"


def main(argv: Sequence[str]) -> int:
    """Run the program; the exit status."""
    name = os.path.basename(argv[0])  # noqa: PTH119 — pathlib is not needed for the quick commands
    command, arguments = (name, list(argv[1:])) if name in ("kubectl", "ctr", "crictl") else ("", list(argv[1:]))
    if not command:
        command = arguments.pop(0) if arguments else "--help"
    try:
        return _run(command, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(command: str, arguments: list[str]) -> int:
    if command in ("--version", "-v"):
        sys.stdout.write(f"k3s version {VERSION} ({COMMIT})\ngo version go1.x (edgemgr lab stand-in, not k3s)\n")
    elif command == "check-config":
        sys.stdout.write("Verifying binaries:\n- stand-in for k3s: good\n\nSTATUS: pass\n")
    elif command in ("--help", "-h", "help"):
        sys.stdout.write(f"k3s - the stand-in for k3s of an edgemgr lab, not k3s\n\nCommands: {_COMMANDS}\n")
    else:
        return _tool(command, arguments)
    return 0


def _tool(command: str, arguments: list[str]) -> int:
    # Each command imports what it needs: `k3s --version` must not wait for the server's modules.
    if command == "server":
        from .server import serve as tool
    elif command == "kubectl":
        from .kubectl import kubectl as tool
    elif command == "ctr":
        from .runtime_ctl import ctr as tool
    elif command == "crictl":
        from .runtime_ctl import crictl as tool
    elif command == "certificate":
        from .certificate_ctl import certificate as tool
    elif command == "etcd-snapshot":
        from .etcd import etcd_snapshot as tool
    elif command == "token":
        from .token_rotate import token as tool
    else:
        sys.stderr.write(f"No help topic for '{command}' (the stand-in for k3s offers: {_COMMANDS})\n")
        return 3
    return tool(arguments)
