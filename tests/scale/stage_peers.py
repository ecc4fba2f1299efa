"""What one would take instead of a stage: scp, rsync and ansible.builtin.copy, each started again until it is done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from edgemgr.lab import power, processes
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.settings import program_environment

PLACE = "bench"  #: in the home of the login user
PAUSE_S = 1.0
END_WITHIN_S = 10.0
#: Where a copy of this machine's rsync lies at a site, whose tree has none.
_RSYNC = "/opt/rsync"
_OPTIONS = """\
Host *
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  BatchMode yes
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 3
"""


def site_root(site: SimulatedSite) -> Path:
    """A running site's tree, as this machine sees it."""
    return Path(f"/proc/{power.leader(site)}/root")


def write_ssh_config(directory: Path) -> Path:
    """For the `key` and `known_hosts` that lie there: a dead connection is noticed after 15 s, not after minutes."""
    config = directory / "ssh_config"
    config.write_text(_OPTIONS.format(key=directory / "key", known_hosts=directory / "known_hosts"))
    return config


def install_rsync(site: SimulatedSite) -> None:
    """Put this machine's own rsync there, with its libraries."""
    program = shutil.which("rsync")
    assert program, "apt-get install rsync"
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True, timeout=10).stdout
    place = site_root(site) / _RSYNC.lstrip("/")
    place.mkdir(parents=True)
    place.chmod(0o755)
    for path in (program, *(word for word in told.split() if word.startswith("/") and "ld-linux" not in word)):
        shutil.copy(path, place)


class Peer:
    """A command that is run again and again until it succeeds, as `until COMMAND; do sleep 1; done` does."""

    def __init__(self, site: SimulatedSite, command: list[str], log: Path, **variables: str) -> None:
        self.keeps = False  #: whether a try goes on with what the one before has left
        self.site = site
        self.tries = 0
        self.done_at: float | None = None  #: of the monotonic clock
        self._command = command
        self._log = log
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    @property
    def place(self) -> Path:
        """Where the file comes to lie, as this machine sees it."""
        return site_root(self.site) / "home" / self.site.user / PLACE

    def start(self) -> None:
        self._thread.start()

    def kill(self) -> None:
        """kill -9 of the command and whatever it has started; it is run again."""
        with self._guard:
            if self._process is not None and self._process.poll() is None:
                for pid in _tree(self._process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it for good."""
        self._over.set()
        self.kill()
        if self._thread.is_alive():
            self._thread.join(END_WITHIN_S)

    def held_bytes(self) -> int:
        """The size of the file at the site that was written last."""
        newest, size = 0, 0
        for folder, _, names in os.walk(self.place):
            for name in names:
                with suppress(FileNotFoundError):
                    status = (Path(folder) / name).lstat()
                    if status.st_mtime_ns >= newest:
                        newest, size = status.st_mtime_ns, status.st_size
        return size

    def _repeat(self) -> None:
        with self._log.open("ab") as log:
            while not self._over.is_set():
                if not self.keeps:  # scp writes over it from the beginning: its size would tell of the try before
                    (self.place / "images").unlink(missing_ok=True)
                with self._guard:
                    self._process = subprocess.Popen(
                        self._command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        env={**program_environment(), **self._variables},
                    )
                self.tries += 1
                if self._process.wait() == 0:
                    self.done_at = time.monotonic()
                    return
                self._over.wait(PAUSE_S)


def scp(site: SimulatedSite, file: Path, config: Path, log: Path) -> Peer:
    """OpenSSH's own, which speaks SFTP."""
    target = f"{site.user}@{site.address}:{PLACE}/images"
    return Peer(site, ["scp", "-q", "-F", str(config), str(file), target], log)


def rsync(site: SimulatedSite, file: Path, config: Path, log: Path) -> Peer:
    """With what came before a cut kept, and used at the next try."""
    peer = Peer(
        site,
        [
            "rsync", "--partial", "--timeout=30", f"--rsh=ssh -F {config}",
            f"--rsync-path=env LD_LIBRARY_PATH={_RSYNC} {_RSYNC}/rsync",
            str(file), f"{site.user}@{site.address}:{PLACE}/images",
        ],
        log,
    )  # fmt: skip
    peer.keeps = True
    return peer


def ansible_copy(site: SimulatedSite, file: Path, config: Path, log: Path) -> Peer:
    """ansible.builtin.copy with the defaults of ansible-core."""
    home = f"/home/{site.user}/{PLACE}"
    return Peer(
        site,
        [
            str(Path(sys.executable).with_name("ansible")), "all", "-i", f"{site.address},", "-u", site.user,
            "-m", "ansible.builtin.copy", "-a", f"src={file} dest={home}/images",
        ],
        log,
        ANSIBLE_SSH_COMMON_ARGS=f"-F {config}",
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(config.parent / "cp"),
        ANSIBLE_HOME=str(config.parent / "ansible"),
        ANSIBLE_REMOTE_TMP=f"{home}/ansible",
    )  # fmt: skip


def end_masters(config: Path) -> None:
    """End the ssh clients that Ansible leaves behind to be used again."""
    for socket in (config.parent / "cp").glob("*"):
        command = ["ssh", "-F", str(config), "-o", f"ControlPath={socket}", "-O", "exit", "site"]
        subprocess.run(command, check=False, capture_output=True, timeout=30)


def _tree(pid: int) -> list[int]:
    return [pid, *(below for child in processes.children(pid) for below in _tree(child))]
