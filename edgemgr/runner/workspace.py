"""Workspace: the private directory of one batch, with keys in it, and gone when the batch has ended."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgemgr.errors import RunnerError
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.host_vars import host_vars
from edgemgr.runner.processes import cut_connections, end_processes, started
from edgemgr.runner.ssh_files import CONFIG, SshPlan, TargetError, known_hosts
from edgemgr.settings import Settings

#: a directory that does not yet say whose it is may be in the making for so long
_UNOWNED_S = 60.0


@dataclass(frozen=True)
class Workspace:
    """`faults` are the attempts that could not be taken in, with the reason; `numbers` those of the aliases in it."""

    path: Path
    faults: Mapping[int, TargetError] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def inventory(self) -> Path:
        """The hosts and their variables."""
        return self.path / "inventory.json"

    @property
    def home(self) -> Path:
        """What Ansible wants to write goes here."""
        return self.path / "home"

    @property
    def ssh_errors(self) -> Path:
        """Where the bounded ssh keeps what it says, until it has ended."""
        return self.path / "e"

    def lock_out(self, alias: str) -> None:
        """No further login at this site: its key goes. Connections that stand stay."""
        _key(self.path, self.numbers[alias]).unlink(missing_ok=True)

    def cut(self, aliases: Collection[str]) -> None:
        """End the connections to these sites; what Ansible does there ends with an error."""
        cut_connections(self.path, aliases, [_socket(self.path, self.numbers[alias]) for alias in aliases])


@contextmanager
def workspace(batch: Batch, settings: Settings) -> Iterator[Workspace]:
    """Make the directory, and remove it whatever happens, after ending what still works in it.

    Raises:
        RunnerError: it cannot be made, or exists already.
    """
    path = _directory(settings) / batch.name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except OSError as exc:
        raise _cannot_be_made(path, exc) from exc
    try:
        try:
            filled = _fill(path, batch, settings)
        except OSError as exc:
            raise _cannot_be_made(path, exc) from exc
        yield filled
    finally:
        _remove(path)


def sweep(settings: Settings) -> list[str]:
    """Remove work directories whose process is dead, and end what still works in them; returns their names."""
    swept = []
    if _directory(settings).is_dir():
        for path in sorted(_directory(settings).iterdir()):
            if path.is_dir() and not _is_owned(path):
                _remove(path)
                swept.append(path.name)
    return swept


def _directory(settings: Settings) -> Path:
    return settings.runtime_dir.absolute() / "batches"


def _fill(path: Path, batch: Batch, settings: Settings) -> Workspace:
    _write(path / "owner", f"{os.getpid()} {started(os.getpid())}\n")
    for name in ("e", "home", "keys", "s"):
        (path / name).mkdir(mode=0o700)
    plan = SshPlan(path, settings.connect_timeout_s, settings.ssh_fast_kex)
    hosts: dict[str, object] = {}
    numbers: dict[str, int] = {}
    blocks: list[str] = []
    pins: list[str] = []
    faults: dict[int, TargetError] = {}
    for number, run in enumerate(batch.runs):
        try:
            block, pin, variables = _texts(run, plan, number)
        except TargetError as exc:
            faults[run.attempt_id] = exc
            continue
        hosts[run.target.alias] = variables
        numbers[run.target.alias] = number
        blocks.append(block)
        pins.append(pin)
    _write(path / CONFIG, "".join([*blocks, plan.tail()]))
    _write(path / "known_hosts", "".join(pins))
    _write(path / "inventory.json", json.dumps({"sites": {"hosts": hosts}}))
    return Workspace(path, faults, numbers)


def _texts(run: SiteRun, plan: SshPlan, number: int) -> tuple[str, str, dict[str, object]]:
    target = run.target
    if target.private_key is None:
        raise TargetError(
            f"there is no key for {target.name} yet",
            hint="The first login by password installs one; it needs a pinned host key.",
            code="E-LOGIN-KEY",
        )
    key_file = _key(plan.directory, number)
    block = plan.block(target, key_file, _socket(plan.directory, number))
    pin = known_hosts(target)
    variables = {**host_vars(target, run.variables), "ansible_ssh_args": plan.arguments(target)}
    _write(key_file, target.private_key.reveal().rstrip("\n") + "\n")
    return block, pin, variables


def _key(directory: Path, number: int) -> Path:
    return directory / "keys" / str(number)


def _socket(directory: Path, number: int) -> Path:
    return directory / "s" / str(number)


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _is_owned(path: Path) -> bool:
    try:
        pid, ticks = (path / "owner").read_text(encoding="ascii").split()
        return started(int(pid)) == int(ticks)
    except (OSError, ValueError):
        return path.exists() and time.time() - path.stat().st_mtime < _UNOWNED_S


def _remove(path: Path) -> None:
    end_processes(path)
    shutil.rmtree(path, ignore_errors=True)


def _cannot_be_made(path: Path, exc: OSError) -> RunnerError:
    return RunnerError(
        f"the work directory {path} cannot be used: {exc.strerror}",
        hint="Look at the space and the rights of runtime_dir (`edgemgr doctor`).",
        code="E-RUNNER-WORKSPACE",
    )
