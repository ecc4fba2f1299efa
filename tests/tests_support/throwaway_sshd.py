"""A real sshd on 127.0.0.1 with host keys, a password and a home of its own, in a mount namespace of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "correct horse 47"
#: /etc and /usr/local of the "node" are the machine's own with changes that only this sshd and its sessions see.
_START = """\
set -eu
mount -t tmpfs tmpfs /run
for tree in etc usr/local; do
  mkdir -p "/run/upper/$tree" "/run/work/$tree"
  mount -t overlay -o "lowerdir=/$tree,upperdir=/run/upper/$tree,workdir=/run/work/$tree" overlay "/$tree"
done
mkdir -p /run/sshd
cp "$1/passwd" /etc/passwd
cp "$1/shadow" /etc/shadow
if [ -d "$1/k3s" ]; then
  mkdir -p /etc/rancher
  ln -s "$1/k3s/etc/rancher/k3s" /etc/rancher/k3s
  printf '#!/bin/sh\nK3S_STANDIN_ROOT=%s exec %s/usr/local/bin/k3s "$@"\n' "$1/k3s" "$1/k3s" >/usr/local/bin/k3s
  chmod 755 /usr/local/bin/k3s
fi
exec /usr/sbin/sshd -D -f "$1/sshd_config" -E "$1/log"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def make_key(path: Path, kind: str = "ed25519") -> str:
    """Make a key pair; returns the public line without comment."""
    bits = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "", "-f", str(path)], check=True, timeout=30)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass
class ThrowawaySshd:
    """Its directory holds everything; `host_keys` are public lines in the order in which they were made."""

    directory: Path
    port: int
    host_keys: list[str]
    pid: int

    def cut(self) -> None:
        """Kill every session; the next connection is taken."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def authorized_keys(self) -> Path:
        return self.home / ".ssh" / "authorized_keys"

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def logins(self) -> list[str]:
        """Every attempt to log in that reached this sshd."""
        return [line for line in self.log().splitlines() if "userauth-request" in line]


@contextmanager
def running_sshd(
    directory: Path, *, kinds: tuple[str, ...] = ("ed25519",), port: int | None = None, config: str = ""
) -> Iterator[ThrowawaySshd]:
    """Start one and end it; needs root. Started again in the same directory it keeps its home and log."""
    (directory / "home").mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    keys = []
    for kind in kinds:
        path = directory / f"host_{kind}"
        if not path.exists():
            make_key(path, kind)
        keys.append(" ".join(path.with_name(path.name + ".pub").read_text().split()[:2]))
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, text=True, capture_output=True, check=True, timeout=30
    ).stdout.strip()
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
    (directory / "passwd").write_text(
        "\n".join([f"root:x:0:0::{directory / 'home'}:/bin/sh", *others]) + "\n", encoding="utf-8"
    )
    (directory / "shadow").write_text(f"root:{hashed}:19000:0:99999:7:::\n", encoding="utf-8")
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
        "LogLevel DEBUG1\n" + "".join(f"HostKey {directory / f'host_{kind}'}\n" for kind in kinds) + config,
        encoding="utf-8",
    )
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _START, "sshd", str(directory)]
    )
    try:
        _await_port(port, process)
        yield ThrowawaySshd(directory, port, keys, process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("sshd does not listen after 4 s")
