"""A program that plays sites which come back: at its moment each begins to listen, with a real sshd for every client.

    python returning_sites.py DIRECTORY

reads DIRECTORY/moments.json (address → seconds from the start) and prints a line "ADDRESS TIME" when one listens, TIME
in seconds since 1970. All share one host key, DIRECTORY/host_key. Ends when its standard input does.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

PORT = 22


def main() -> None:
    directory = Path(sys.argv[1])
    moments: dict[str, float] = json.loads((directory / "moments.json").read_text())
    config = directory / "sshd_config"
    config.write_text(f"HostKey {directory / 'host_key'}\nPidFile none\nUsePAM no\nStrictModes no\n")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    command = ["/usr/sbin/sshd", "-i", "-f", str(config), "-E", "/dev/null"]
    waiting = sorted((at_s, address) for address, at_s in moments.items())
    began = time.monotonic()
    clients: list[subprocess.Popen[bytes]] = []
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            while waiting and time.monotonic() - began >= waiting[0][0]:
                _, address = waiting.pop(0)
                selector.register(socket.create_server((address, PORT), backlog=64), selectors.EVENT_READ)
                sys.stdout.write(f"{address} {time.time():.3f}\n")
                sys.stdout.flush()
            until_next = waiting[0][0] - (time.monotonic() - began) if waiting else 1.0
            for key, _ in selector.select(max(0.0, min(until_next, 1.0))):
                if not isinstance(key.fileobj, socket.socket):
                    return
                connection, _ = key.fileobj.accept()
                with connection:
                    clients.append(subprocess.Popen(command, stdin=connection, stdout=connection, stderr=connection))
            clients = [client for client in clients if client.poll() is None]


if __name__ == "__main__":
    main()
