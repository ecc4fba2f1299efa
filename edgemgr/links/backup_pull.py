"""Pulling a backup from a node over one SSH connection: only the blocks that the appliance lacks, each checked.

The manifest comes first, then those of its block lists that are new, then the blocks that those name and the appliance
does not hold. What came is kept at once, so a cut costs what was on its way, and the next try asks for the rest.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from edgemgr.errors import EdgemgrError, Retry, SiteError
from edgemgr.links import node_backups
from edgemgr.links.connection import Connection
from edgemgr.links.sftp_reader import READ_BYTES, SftpReader
from edgemgr.links.throttle import Throttle
from edgemgr.links.transfer import STALL_S, Stop
from edgemgr.model.backup_manifest import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    LIST_ENDING,
    LIST_ENTRIES,
    MAX_MANIFEST_BYTES,
    BackupManifest,
    BackupPart,
    entries,
    read_manifest,
)

_PROGRAM_TIMEOUT_S = 60.0


class BackupDamagedError(SiteError):
    """The backup on the node is not what it was when it was taken."""

    code = "E-BACKUP-DAMAGED"
    retry = Retry.NEVER


class BlockSink(Protocol):
    """What a pull needs of the appliance's store."""

    def missing(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those that are not held, each once, in order."""

    def put(self, data: bytes) -> bytes:
        """Keep a block or list; returns its digest."""

    def fetch(self, digests: Collection[bytes]) -> Mapping[bytes, bytes]:
        """What is held under these digests."""


@dataclass(frozen=True)
class BackupPlace:
    """Where backups lie on the node: as in the collection (module_utils/backup_place.py), unless a test says so."""

    backups: str = "/var/lib/edgemgr/backups"
    outgoing: str = "/var/lib/edgemgr/outgoing"


@dataclass(frozen=True)
class Pulled:
    """How far a pull has come. Bytes are those of parts and lists, without SSH's and TCP's own."""

    total_bytes: int = 0  #: of all parts; 0 until the manifest has come
    held_bytes: int = 0  #: of these the appliance had already
    received_bytes: int = 0  #: came this time
    manifest: bytes = b""  #: at the end: everything that it names is held
    stop: Stop | None = None


def list_backups(connection: Connection, place: BackupPlace | None = None) -> dict[int, str]:
    """The backups that lie on a node: attempt → digest of the manifest.

    Raises:
        SiteUnreachableError: the connection was lost.
        SiteError: the node did not answer as it should (E-STAGE-NODE), or its disk refused (E-NODE-IO).
    """
    found: dict[str, str] = _ask(connection, place or BackupPlace(), "list")["backups"]
    return {int(attempt): digest for attempt, digest in found.items()}


def pull_blocks(
    connection: Connection,
    attempt: int,
    digest: str,
    sink: BlockSink,
    *,
    throttle: Throttle | None = None,
    on_progress: Callable[[Pulled], None] = lambda _pulled: None,
    is_canceled: Callable[[], bool] = lambda: False,
    is_open: Callable[[], bool] = lambda: True,
    stall_s: float = STALL_S,
    place: BackupPlace | None = None,
) -> Pulled:
    """Bring what the sink lacks of the backup that `attempt` took, whose manifest has the SHA-256 `digest`.

    Returns when everything is held, or at a `Stop`. The caller says when what was put has to be on the disk.

    Raises:
        SiteUnreachableError: the connection was lost, or nothing came for `stall_s` (E-SITE-STALLED).
        BackupDamagedError: a byte of it is not what it was when the backup was taken (E-BACKUP-DAMAGED).
        SiteError: it is not there (E-BACKUP-GONE), cannot be read (E-BACKUP-READ), or there is no SFTP (E-STAGE-SFTP).
    """
    with (
        _exposed(connection, attempt, place or BackupPlace()) as directory,
        SftpReader(connection, stall_s=stall_s) as reader,
    ):
        puller = _Puller(
            connection.name,
            reader,
            sink,
            throttle=throttle or Throttle(),
            on_progress=on_progress,
            is_canceled=is_canceled,
            is_open=is_open,
        )
        return puller.pull(directory, attempt, digest)


class _Puller:
    """One pull while it runs."""

    def __init__(
        self,
        name: str,
        reader: SftpReader,
        sink: BlockSink,
        *,
        throttle: Throttle,
        on_progress: Callable[[Pulled], None],
        is_canceled: Callable[[], bool],
        is_open: Callable[[], bool],
    ) -> None:
        self._name, self._reader, self._sink = name, reader, sink
        self._throttle, self._on_progress = throttle, on_progress
        self._is_canceled, self._is_open = is_canceled, is_open
        self._received = self._held = self._total = 0
        self._stop: Stop | None = None

    def pull(self, directory: str, attempt: int, digest: str) -> Pulled:
        text = self._reader.read_file(f"{directory}/manifest.json", MAX_MANIFEST_BYTES)
        manifest = self._checked(text, attempt, digest)
        self._total = manifest.size_bytes
        for part in manifest.parts:
            if self._stop is None:
                self._lists(directory, part)
            if self._stop is None:
                self._blocks(directory, part)
        self._on_progress(self._pulled(b""))
        return self._pulled(b"" if self._stop else text)

    def _checked(self, text: bytes, attempt: int, digest: str) -> BackupManifest:
        if hashlib.sha256(text).hexdigest() != digest:
            raise self._damaged("its manifest has another SHA-256")
        try:
            manifest = read_manifest(text)
        except ValueError as exc:
            raise self._damaged("its manifest cannot be read") from exc
        if manifest.attempt != attempt:
            raise self._damaged(f"it says that attempt {manifest.attempt} took it")
        return manifest

    def _lists(self, directory: str, part: BackupPart) -> None:
        digests = [bytes.fromhex(each) for each in part.lists]
        places = {digest: number for number, digest in reversed(list(enumerate(digests)))}
        numbers = [places[digest] for digest in self._sink.missing(digests)]
        step = LIST_ENTRIES * DIGEST_BYTES
        self._bring(
            f"{directory}/{part.name}{LIST_ENDING}", digests, numbers, step, [part.list_bytes(n) for n in numbers]
        )

    def _blocks(self, directory: str, part: BackupPart) -> None:
        lists = [bytes.fromhex(each) for each in part.lists]
        held = self._sink.fetch(lists)
        digests = [digest for each in lists for digest in entries(held[each])]
        if len(digests) != part.block_count:
            raise self._damaged(f"the block lists of {part.name} do not fit its size")
        places = {digest: number for number, digest in reversed(list(enumerate(digests)))}
        numbers = sorted(places[digest] for digest in self._sink.missing(digests))
        sizes = [part.block_bytes(number) for number in numbers]
        self._held += part.size_bytes - sum(sizes)
        self._bring(f"{directory}/{part.name}", digests, numbers, BLOCK_BYTES, sizes)

    def _bring(self, path: str, digests: Sequence[bytes], numbers: list[int], step: int, sizes: list[int]) -> None:
        """Read pieces of a file, `step` apart, and keep those that have the digest that they should."""
        if not numbers:
            return
        runs = list(_runs(numbers, sizes, step))
        received = self._reader.read_ranges(path, self._asked([(n * step, size) for n, _, size in runs]))
        for (_, data), (first, count, size) in zip(received, runs, strict=False):
            if len(data) != size:
                raise self._damaged(f"{path.rpartition('/')[2]} ends early")
            for number in range(first, first + count):
                piece = data[(number - first) * step :][:step]
                if hashlib.sha256(piece).digest() != digests[number]:
                    raise self._damaged(f"{path.rpartition('/')[2]} was changed at byte {number * step}")
                self._sink.put(piece)
            self._received += size
            self._on_progress(self._pulled(b""))

    def _asked(self, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for offset, size in ranges:
            if not self._is_open():
                self._stop = Stop.WINDOW
            if self._is_canceled() or not self._throttle.wait(size, self._is_canceled):
                self._stop = Stop.CANCELED
            if self._stop is not None:
                return
            yield offset, size

    def _pulled(self, manifest: bytes) -> Pulled:
        return Pulled(self._total, self._held, self._received, manifest, self._stop)

    def _damaged(self, why: str) -> BackupDamagedError:
        return BackupDamagedError(
            f"the backup on {self._name} is damaged: {why}",
            hint="Take a new backup; if this repeats, the node's disk is failing (dmesg).",
        )


def _runs(numbers: list[int], sizes: list[int], step: int) -> Iterator[tuple[int, int, int]]:
    """Join pieces that follow each other, up to what one request gives: (first, how many, bytes)."""
    at = 0
    while at < len(numbers):
        count = 1
        while (
            at + count < len(numbers)
            and numbers[at + count] == numbers[at] + count
            and (count + 1) * step <= READ_BYTES
        ):
            count += 1
        yield numbers[at], count, sum(islice(sizes, at, at + count))
        at += count


@contextmanager
def _exposed(connection: Connection, attempt: int, place: BackupPlace) -> Iterator[str]:
    """Let the login user read a backup as long as it is pulled."""
    directory = _ask(connection, place, "open", attempt=attempt)["directory"]
    if directory is None:
        raise SiteError(
            f"{connection.name} has no backup of attempt {attempt} any more",
            hint="The node keeps only the newest; take a new backup.",
            code="E-BACKUP-GONE",
        )
    try:
        yield str(directory)
    finally:
        with suppress(EdgemgrError):  # the next pull takes it back
            _ask(connection, place, "close")


def _ask(connection: Connection, place: BackupPlace, step: str, **more: Any) -> dict[str, Any]:
    user = str(connection.transport.get_username())
    asked = json.dumps({**place.__dict__, "user": user, "step": step, **more})
    program = Path(str(node_backups.__file__)).read_text(encoding="utf-8") + f"\nmain({asked!r})\n"
    command = "/usr/bin/python3 -I -" if user == "root" else "sudo -n /usr/bin/python3 -I -"
    # A channel that waits for the start of a command has no time limit of its own in paramiko.
    guard = threading.Timer(_PROGRAM_TIMEOUT_S + 1, connection.transport.close)
    guard.daemon = True
    guard.start()
    try:
        result = connection.run(command, stdin=program, timeout_s=_PROGRAM_TIMEOUT_S)
    finally:
        guard.cancel()
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        said = result.stderr.strip().rpartition("\n")[2][:200] or "it said nothing"
        raise SiteError(
            f"the backups of {connection.name} cannot be reached as user {user}: {said}",
            hint="The node needs Python 3.8 or newer, and the user has to be root or use sudo without a password.",
            code="E-STAGE-NODE",
        ) from None
    if "error" in answer:
        raise SiteError(
            f"{connection.name}: the node refused: {answer['error']}",
            hint="Look at the node's disk (df, dmesg).",
            code="E-NODE-IO",
        )
    return answer
