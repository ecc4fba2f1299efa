"""A program that greets like sshd on one port and takes connections without a word on another.

    python greeter.py GREETING_PORT SILENT_PORT

It stands for thousands of sites, 127.x.y.z each, and prints a line when it listens.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

_BACKLOG = 4096


def main() -> None:
    greeting, silent = (socket.create_server(("", int(port)), backlog=_BACKLOG) for port in sys.argv[1:3])
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    with greeting, silent:  # the kernel takes connections to the silent one by itself
        while True:
            connection, _ = greeting.accept()
            with connection, suppress(OSError):
                connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 greeter\r\n")


if __name__ == "__main__":
    main()
