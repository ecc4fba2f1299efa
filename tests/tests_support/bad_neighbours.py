"""A claim whose sites are loopback addresses: good ones, and ones that are bad in every way that holds others up.

A real sshd, a real ansible-playbook, the real queue's carrier and store; what a node is asked to do is to wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

from edgemgr.model.attempt import AttemptResult
from edgemgr.model.operation import OperationKind
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.model.worker import Worker
from edgemgr.operations.submit import submit
from edgemgr.queue.work import Carrier
from edgemgr.settings import Settings
from edgemgr.store import schema, secrets, workers
from edgemgr.store.claim import claim
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault
from tests_support.throwaway_sshd import free_port, make_key

ADDRESSES = 15
#: For sshd: whoever has logged in gets no answer any more, as on a node whose disk has died.
HANGS = "ForceCommand sleep 45\n"
_PLAYBOOK = """
- hosts: sites
  gather_facts: false
  strategy: ansible.builtin.host_pinned
  tasks:
    - name: Wait, as long as the site's name says
      wait_and_say:
        name: "{{ edge_site }}"
        work_s: %s
"""
_MODULE = """
import os
import time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "str"}, "work_s": {"type": "float"}})
if module.params["name"].startswith(("stuck-", "dying-")):
    time.sleep(120)
time.sleep(module.params["work_s"])
module.exit_json(changed=False, edge_observation={"health": "healthy"})
"""


class Server(Protocol):
    """What a site needs to know of the host that plays it."""

    host_key: str
    private_key: Secret


@dataclass
class Sshd:
    """An sshd on many loopback addresses; one key opens it for root."""

    directory: Path
    port: int
    host_key: str
    private_key: Secret
    process: subprocess.Popen[bytes]

    prefix: str

    def places(self, count: int) -> list[tuple[str, int]]:
        """Addresses of so many sites; several share one, since sshd listens on sixteen at most."""
        return [(f"{self.prefix}.{number % ADDRESSES + 1}", self.port) for number in range(count)]

    def freeze(self) -> None:
        """Fall silent without a word, as a node does that loses its power."""
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)


@contextmanager
def sshd(directory: Path, prefix: str, config: str = "") -> Iterator[Sshd]:
    """One that listens on `prefix`.1 and so on."""
    directory.mkdir(parents=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    host_key = make_key(directory / "host_key")
    make_key(directory / "client_key")
    listen = "".join(f"ListenAddress {prefix}.{number}\n" for number in range(1, ADDRESSES + 1))
    (directory / "sshd_config").write_text(
        f"Port {port}\n{listen}HostKey {directory}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/client_key.pub\nPermitRootLogin prohibit-password\n"
        f"PasswordAuthentication no\nMaxStartups 500\nUseDNS no\n{config}"
        # A home of its own: the shell of a session reads the .bashrc there, and that of the real root may be slow.
        f"SetEnv HOME={directory}\n"
    )
    log = (directory / "log").open("wb")
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config")], stderr=log)
    log.close()
    try:
        deadline = time.monotonic() + 10
        while b"Server listening" not in (directory / "log").read_bytes():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "sshd did not start"
            time.sleep(0.02)
        yield Sshd(directory, port, host_key, Secret((directory / "client_key").read_text()), process, prefix)
    finally:
        sessions = list(_children(process.pid))
        process.kill()
        process.wait(timeout=10)
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def black_holes(count: int) -> Iterator[list[tuple[str, int]]]:
    """Ports that swallow what knocks: their queues are full, so that the kernel drops every further SYN (listen(2))."""
    with ExitStack() as stack:
        places = []
        for number in range(1, count + 1):
            listener = stack.enter_context(socket.socket())
            listener.bind((f"127.0.12.{number}", 0))
            listener.listen(0)
            places.append(listener.getsockname())
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(places[-1])
        time.sleep(0.1)
        yield places


@contextmanager
def silent_hosts(count: int) -> Iterator[list[tuple[str, int]]]:
    """Ports that accept and say nothing."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_server((f"127.0.13.{number}", 0), backlog=50)).getsockname()
            for number in range(1, count + 1)
        ]


@dataclass
class Fate:
    """What became of the claim's sites, and when, in seconds from the start of the carrying."""

    results: dict[str, AttemptResult] = field(default_factory=dict)
    after_s: dict[str, float] = field(default_factory=dict)
    began: frozenset[str] = frozenset()  #: sites that Ansible has begun with

    def last_s(self, prefix: str) -> float:
        return max(after for name, after in self.after_s.items() if name.startswith(prefix))


class Claim:
    """A store with sites, of which one claim is carried."""

    def __init__(self, directory: Path, *, work_s: float, **settings: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        values = {"state_dir": directory / "state", "runtime_dir": directory / "run", "connect_timeout_s": 4.0}
        self.settings = Settings(**{**values, **settings})  # type: ignore[arg-type]
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        self.database = Database(self.settings.url)
        schema.upgrade(self.database)
        self.vault = Vault.open(self.settings.state_dir / "secret.key")
        self.playbooks = directory / "playbooks"
        (self.playbooks / "library").mkdir(parents=True, exist_ok=True)
        (self.playbooks / "library/wait_and_say.py").write_text(_MODULE)
        (self.playbooks / "ansible.cfg").write_text("[defaults]\ninterpreter_python = /usr/bin/python3\n")
        (self.playbooks / "verify.yml").write_text(textwrap.dedent(_PLAYBOOK % work_s))
        self.sites: list[int] = []

    def add(self, prefix: str, places: Sequence[tuple[str, int]], server: Server, user: str = "root") -> None:
        """Sites at these addresses, each pinned to the server's key, with the key installed that opens it."""
        with self.database.write() as session:
            for number, (address, port) in enumerate(places, start=1):
                site = Site(
                    name=f"{prefix}-{number}",
                    address=address,
                    port=port,
                    user=user,
                    host_key=server.host_key,
                    trust=Trust.PINNED,
                    public_key="ssh-ed25519 AAAA",
                    key_installed=True,
                )
                session.add(site)
                session.flush()
                assert site.id is not None
                secrets.put(session, self.vault, site.id, SecretName.PRIVATE_KEY, server.private_key)
                self.sites.append(site.id)

    def carry(
        self,
        *,
        kind: OperationKind = OperationKind.VERIFY,
        is_canceled: Callable[[str], bool] = lambda _name: False,
        until: str | tuple[str, ...] = (),
    ) -> Fate:
        """Carry one claim of all sites; with `until` the rest is canceled once the sites of these prefixes are done."""
        with self.database.write() as session:
            worker = Worker(id="w", host="h", boot_id="b", pid=os.getpid(), pid_started=0, version="0")
            if session.get(Worker, "w") is None:
                workers.register(session, worker)
            submit(session, kind, {}, self.sites, actor="test")
        with self.database.write() as session:
            claimed = claim(session, worker_id="w", zones=(), batch="n", limit=500, max_running=500, now=utc_now())
        assert len(claimed) == len(self.sites)
        names = {item.attempt.id or 0: item.site_name for item in claimed}
        waiting = {name for name in names.values() if until and name.startswith(until)}
        fate, lock, start = Fate(), threading.Lock(), time.monotonic()

        def settle(attempt_id: int, result: AttemptResult) -> None:
            name = names[attempt_id]
            with lock:
                assert name not in fate.results, f"{name} was settled twice"
                fate.results[name], fate.after_s[name] = result, time.monotonic() - start
                waiting.discard(name)

        carrier = Carrier(
            self.database,
            self.vault,
            self.settings,
            claimed,
            settle=settle,
            is_canceled=lambda attempt_id: is_canceled(names[attempt_id]) or (bool(until) and not waiting),
        )
        with patch("edgemgr.runner.content.playbook_dir", return_value=self.playbooks):
            carrier.carry("n")
        began = {
            name
            for attempt_id, name in names.items()
            if any((self.settings.log_dir / str(attempt_id // 1000)).glob(f"{attempt_id}.log*"))
        }
        fate.began = frozenset(began)
        self._forget()
        return fate

    def _forget(self) -> None:
        """Leave the store as it was before the claim; what was settled was not written."""
        from sqlalchemy import text

        with self.database.write() as session:
            session.execute(text("DELETE FROM attempt"))
            session.execute(text("DELETE FROM operation"))

    def close(self) -> None:
        self.database.engine.dispose()


def _children(pid: int) -> Iterator[int]:
    """All processes below one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    queue = [pid]
    while queue:
        below = parents.get(queue.pop(), [])
        yield from below
        queue += below
