"""A real sshd for one test: own host key, own port on addresses of the loopback, one key that may log in as root."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edgemgr.model.secret import Secret
from edgemgr.model.target import Jump, Target

START_WITHIN_S = 10.0


def make_key(path: Path) -> str:
    """Make an Ed25519 key pair; returns the public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True, timeout=30)
    return path.with_suffix(".pub").read_text().strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Sshd:
    """`log` is what sshd wrote so far."""

    directory: Path
    addresses: int = 1

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.host_key = make_key(self.directory / "host_key")
        make_key(self.directory / "client_key")
        self.private_key = Secret((self.directory / "client_key").read_text())
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        # Privilege separation wants this directory; Debian's service makes it, and nothing runs that service here.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        listen = "".join(f"ListenAddress 127.0.0.{number}\n" for number in range(1, self.addresses + 1))
        config.write_text(
            f"Port {self.port}\n{listen}HostKey {self.directory}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {self.directory}/client_key.pub\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nLogLevel VERBOSE\nMaxStartups 200\nUseDNS no\n"
            # A home of its own: the shell of a session reads the .bashrc there, and that of this machine's root may
            # be slow.
            f"SetEnv HOME={self.directory}\n"
        )
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log)
        deadline = time.monotonic() + START_WITHIN_S
        while "Server listening" not in self.log:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"sshd did not start: {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def target(self, site_id: int, **changes: object) -> Target:
        """A site that this sshd plays, on an address of its own as far as there are several."""
        values: dict[str, object] = {
            "site_id": site_id,
            "name": f"site-{site_id}",
            "address": f"127.0.0.{(site_id - 1) % self.addresses + 1}",
            "port": self.port,
            "user": "root",
            "host_key": self.host_key,
            "private_key": self.private_key,
        }
        return Target(**{**values, **changes})  # type: ignore[arg-type]

    def jump(self) -> Jump:
        """The same sshd as a host on the way."""
        return Jump("127.0.0.1", self.port, "root", self.host_key)
