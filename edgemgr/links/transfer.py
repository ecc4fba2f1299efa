"""Transfer: brings blobs that a node lacks to its content store, over one SSH connection.

The node is asked once what it holds; then only the rest travels, in chunks of 4 MiB by SFTP. A cut costs what was on
its way and at most one block of 32 KiB; the node hashes every file before it gets its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

from edgemgr.links import bulk_socket
from edgemgr.links.connection import Connection
from edgemgr.links.sftp_writer import WRITE_BYTES, SftpWriter
from edgemgr.links.throttle import Throttle
from edgemgr.links.transfer_node import NodeStore, Opened, Reserve, StorePlace
from edgemgr.links.transfer_plan import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    Blob,
    bad_source,
    chunks_of,
    good_blocks,
    once_each,
    pieces,
    read_chunk,
)

STALL_S = 60.0
#: Files are completed when so much has come: that costs some round trips and the time to hash, in which nothing moves.
_COMPLETE_BYTES = 128 * 1024 * 1024


class Stop(StrEnum):
    """Why a transfer ended before everything was there, without a fault."""

    CANCELED = "canceled"
    WINDOW = "window"  #: the transfer window has closed


@dataclass(frozen=True)
class Sent:
    """How far a transfer has come. Bytes are those of the blobs, without SSH's and TCP's own."""

    total_bytes: int  #: of all blobs, each once
    held_bytes: int = 0  #: of these the node had at the beginning
    sent_bytes: int = 0  #: given to SFTP to be sent, this time; after a cut more than what the node will hold of it
    elapsed_s: float = 0.0  #: time in which bytes were sent or waited for their turn
    completed: tuple[str, ...] = ()  #: digests that were hashed and named this time
    stop: Stop | None = None  #: None at the end: everything is there

    @property
    def remaining_bytes(self) -> int:
        """What still has to travel."""
        return max(0, self.total_bytes - self.held_bytes - self.sent_bytes)


def send_blobs(
    connection: Connection,
    blobs: Sequence[Blob],
    *,
    attempt: int,
    throttle: Throttle | None = None,
    on_progress: Callable[[Sent], None] = lambda _sent: None,
    is_canceled: Callable[[], bool] = lambda: False,
    is_open: Callable[[], bool] = lambda: True,
    reserve: Reserve | None = None,
    place: StorePlace | None = None,
    stall_s: float = STALL_S,
    clock: Callable[[], float] = time.monotonic,
) -> Sent:
    """Bring all blobs to the node's content store; returns when they are there, or at a `Stop`.

    `on_progress` gets the state at each border of a chunk and once at the end, after a fault too. `is_canceled` is
    asked before every write (so it has to be quick), `is_open` (the transfer window) in each block. The
    fence on the node refuses attempts that are older than one that has been there, and ends what those still write.

    Raises:
        SiteUnreachableError: the connection was lost; nothing acknowledged for `stall_s` (E-SITE-STALLED).
        SiteError: see `NodeStore.open` and `NodeStore.complete`; E-STAGE-SFTP; E-ARTIFACT-SEND; E-ARTIFACT-SOURCE.
    """
    carrier = _Carrier(
        once_each(blobs),
        throttle=throttle or Throttle(),
        on_progress=on_progress,
        is_canceled=is_canceled,
        is_open=is_open,
        clock=clock,
    )
    try:
        if carrier.may_go_on():
            store = NodeStore(connection, attempt=attempt, place=place)
            opened = store.open(carrier.blobs, reserve or Reserve())
            carrier.carry(connection, store, opened, stall_s)
    finally:
        on_progress(carrier.sent)
    return carrier.sent


class _Carrier:
    """One transfer while it runs."""

    def __init__(
        self,
        blobs: list[Blob],
        *,
        throttle: Throttle,
        on_progress: Callable[[Sent], None],
        is_canceled: Callable[[], bool],
        is_open: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.blobs = blobs
        self._throttle = throttle
        self._on_progress = on_progress
        self._is_canceled = is_canceled
        self._is_open = is_open
        self._clock = clock
        self._total_bytes = sum(blob.size_bytes for blob in blobs)
        self._held_bytes = self._sent_bytes = 0
        self._elapsed_s = 0.0
        self._began_at: float | None = None
        self._completed: list[str] = []
        self._stop: Stop | None = None

    @property
    def sent(self) -> Sent:
        """How far it has come by now."""
        running_s = 0.0 if self._began_at is None else self._clock() - self._began_at
        return Sent(
            total_bytes=self._total_bytes,
            held_bytes=self._held_bytes,
            sent_bytes=self._sent_bytes,
            elapsed_s=self._elapsed_s + running_s,
            completed=tuple(self._completed),
            stop=self._stop,
        )

    def may_go_on(self) -> bool:
        """Whether the next block may be begun."""
        if self._is_canceled():
            self._stop = Stop.CANCELED
        elif not self._is_open():
            self._stop = Stop.WINDOW
        return self._stop is None

    def carry(self, connection: Connection, store: NodeStore, opened: Opened, stall_s: float) -> None:
        """Send what is missing, and have it completed from time to time."""
        starts = {blob.digest: _start_of(blob, opened) for blob in self.blobs}
        self._held_bytes = sum(starts.values())
        missing = [blob for blob in self.blobs if blob.digest not in opened.present]
        whole: list[Blob] = []
        with ExitStack() as stack:
            writer: SftpWriter | None = None
            # What was begun first is finished first.
            for blob in sorted(missing, key=lambda blob: starts[blob.digest] == 0):
                if starts[blob.digest] < blob.size_bytes:
                    if writer is None:
                        bulk_socket.prepare(connection.transport)
                        writer = stack.enter_context(SftpWriter(connection, stall_s=stall_s))
                    self._send(writer, blob, f"{opened.directory}/{blob.digest}.part", starts[blob.digest])
                    if self._stop is not None:
                        break
                whole.append(blob)
                if sum(each.size_bytes for each in whole) >= _COMPLETE_BYTES:
                    self._complete(store, opened.directory, whole)
                    whole = []
        if whole:
            self._complete(store, opened.directory, whole)

    def _send(self, writer: SftpWriter, blob: Blob, path: str, start: int) -> None:
        handle = writer.open(path)
        self._began_at = self._clock()
        try:
            self._send_content(writer, handle, blob, start)
            writer.close(handle)
        finally:
            self._elapsed_s += self._clock() - self._began_at
            self._began_at = None

    def _send_content(self, writer: SftpWriter, handle: bytes, blob: Blob, start: int) -> None:
        digests = chunks_of(blob)
        try:
            source = blob.path.open("rb")
        except OSError as exc:
            raise bad_source(blob, exc.strerror or str(exc)) from exc
        with source:
            for piece in pieces(blob.size_bytes, start):
                chunk = read_chunk(source, blob, piece.chunk, digests[piece.chunk])
                first = piece.offset - piece.chunk * CHUNK_BYTES
                block = -1
                for at in range(first, first + piece.size_bytes, WRITE_BYTES):
                    # Asked in each block: over a slow link a chunk takes minutes, for which an operator would wait.
                    if at // BLOCK_BYTES > block and not self.may_go_on():
                        return
                    block = at // BLOCK_BYTES
                    data = chunk[at : min(at + WRITE_BYTES, first + piece.size_bytes)]
                    if not self._throttle.wait(len(data), self._is_canceled) or self._is_canceled():
                        self._stop = Stop.CANCELED
                        return
                    self._sent_bytes += len(data)
                    writer.write(handle, piece.chunk * CHUNK_BYTES + at, data)
                self._on_progress(self.sent)

    def _complete(self, store: NodeStore, directory: str, blobs: list[Blob]) -> None:
        store.complete(directory, blobs)
        self._completed += [blob.digest for blob in blobs]


def _start_of(blob: Blob, opened: Opened) -> int:
    """From which byte on a blob has to travel; its size when nothing of it has."""
    if blob.digest in opened.present:
        return blob.size_bytes
    held = opened.held[blob.digest]
    start = min(held.chunks * CHUNK_BYTES, blob.size_bytes)
    if held.blocks and start < blob.size_bytes:
        with blob.path.open("rb") as source:
            start += good_blocks(read_chunk(source, blob, held.chunks, chunks_of(blob)[held.chunks]), held.blocks)
    return start
