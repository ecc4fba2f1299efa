"""Starting a backup on this appliance: k3s of its version, on its files, in namespaces of its own that go with it."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgemgr.errors import NotFoundError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.rehearsal_faults import busy, no_arch, no_release, no_room, unusable
from edgemgr.inventory.rehearsal_space import find_namespaces, run_inside
from edgemgr.inventory.rehearsal_tree import CONFIG, DATA_DIR, SNAPSHOT, lay_out
from edgemgr.inventory.rehearsal_verdict import Started, judge
from edgemgr.model.backup_manifest import BackupManifest
from edgemgr.model.release import Arch, Part, arch_of_machine
from edgemgr.model.release_file import ReleaseFile
from edgemgr.runner.redact import Redactor
from edgemgr.settings import Settings
from edgemgr.store import releases
from edgemgr.store.database import Database

_LOCK = "rehearsal.lock"
_MIB = 1 << 20
#: What a packed k3s and its unpacked programs take, measured by the packed one: they lie in memory.
_UNPACKED = 6
#: What a server without an agent takes (docs.k3s.io, reference/resource-profiling: 1.4 GB with agents that join it).
_SERVER_BYTES = 1024 * _MIB
#: A datastore grows while it is served: SQLite's log; two files of etcd's log, of 64 MB each, whatever is in them.
_GROWTH_BYTES = {"sqlite": 64 * _MIB, "etcd": 256 * _MIB}
_STOP_TIMEOUT_S = 20.0
#: For all that is not the start: namespaces, the questions to the API, the end.
_AROUND_S = 150.0


@contextmanager
def starting(settings: Settings, database: Database, *, start_timeout_s: float) -> Iterator[Starter]:
    """See that this machine can start backups, and let nobody else do so meanwhile.

    Args:
        settings: where things lie.
        database: which releases are here.
        start_timeout_s: how long k3s is given until its API is ready.

    Raises:
        RehearsalError: it cannot (E-REHEARSE-ARCH, E-REHEARSE-PROGRAM, E-REHEARSE-NAMESPACES), or another rehearsal
            runs (E-REHEARSE-BUSY).
    """
    arch = arch_of_machine(platform.machine())
    if arch is None:
        raise no_arch(platform.machine())
    options = find_namespaces()
    with _alone(settings.state_dir / _LOCK):
        yield Starter(settings, database, arch, options, start_timeout_s)


@dataclass(frozen=True)
class Starter:
    """Starts one backup after the other; made by `starting`."""

    settings: Settings
    database: Database
    arch: Arch
    options: tuple[str, ...]  #: of `unshare`
    start_timeout_s: float

    def __call__(self, site: str, manifest: BackupManifest, place: Path) -> Started:
        """Start the backup whose parts lie in `place`, for this process alone; they are used up by that.

        Raises:
            RehearsalError: it could not be started, or did not start; `was_started` tells which.
        """
        program = self._program(manifest.k3s_version)
        memory_bytes = _UNPACKED * program.size_bytes + 64 * _MIB
        _check_room(place, manifest, memory_bytes + _SERVER_BYTES)
        tree = lay_out(place, site)
        order = {
            "place": str(place),
            "program": str(ContentStore(self.settings.release_dir).path(program.digest)),
            "digest": program.digest,
            "memory_bytes": memory_bytes,
            "addresses": tree.config.addresses,
            "api": tree.config.loopback,
            "arguments": [f"--config=/{CONFIG}", f"--data-dir=/{DATA_DIR}"],
            "snapshot": f"/{SNAPSHOT}" if manifest.datastore == "etcd" else "",
            "start_timeout_s": self.start_timeout_s,
            "stop_timeout_s": _STOP_TIMEOUT_S,
        }
        report = run_inside(self.options, order, within_s=self.start_timeout_s + _AROUND_S)
        redact = Redactor(tree.secrets)
        return judge(report, identity=tree.identity, redact=redact, start_timeout_s=self.start_timeout_s)

    def _program(self, version: str) -> ReleaseFile:
        """The k3s of that version which this machine can run."""
        with self.database.read() as session:
            try:
                files = releases.files_of(session, version)
            except NotFoundError as exc:
                raise no_release(version, self.arch, []) from exc
        store = ContentStore(self.settings.release_dir)
        binaries = [file for file in files if file.part == Part.BINARY and store.has(file.digest, file.size_bytes)]
        own = [file for file in binaries if file.arch == self.arch]
        if not own:
            raise no_release(version, self.arch, sorted(file.arch for file in binaries))
        return own[0]


def _check_room(place: Path, manifest: BackupManifest, memory_bytes: int) -> None:
    """What is laid out beside the parts, and grows, fits into runtime_dir; programs and the server fit into memory."""
    disk_bytes = sum(file.size_bytes for file in manifest.files) + _GROWTH_BYTES[manifest.datastore]
    disk_bytes += 2 * (manifest.size_bytes - manifest.part("files.tar").size_bytes)
    free = shutil.disk_usage(place).free
    if free < disk_bytes:
        raise no_room(disk_bytes, free, "in runtime_dir to lay the backup out")
    free = _available_memory()
    if free < memory_bytes:
        raise no_room(memory_bytes, free, "in memory to start k3s")


def _available_memory() -> int:
    """What this machine can give without swapping, in bytes (proc(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise unusable(exc) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise busy() from exc
        yield
    finally:
        os.close(lock)
