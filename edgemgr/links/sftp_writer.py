"""Writing files at a site by SFTP so that a long link is always full, and so that a dead one is noticed.

SFTP version 3 (draft-ietf-secsh-filexfer-02) over a channel of paramiko; only what writing needs. paramiko's own
`SFTPFile.set_pipelined` was not enough: after 100 requests it waits for all their answers at once (sftp_file.py,
`_write`), so that the link runs empty every 3 MiB, and it does not say which bytes were acknowledged. Here a thread
takes the answers as they come, and as many bytes are on their way as `window_bytes` says.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_INIT, CMD_OPEN, CMD_STATUS, CMD_VERSION, CMD_WRITE, SFTP_FLAG_WRITE

from edgemgr.errors import Retry, SiteError, SiteUnreachableError
from edgemgr.links.connection import Connection

#: Every server takes 32 KiB in a request (the draft's section 3); with its head it fills one SSH packet of 32 KiB.
WRITE_BYTES = 32000
#: Bytes that may be sent and not yet acknowledged: 320 KiB fill 26 Mbit/s at a round trip of 100 ms. All of them may be
#: lost with a cut, so that more costs more bytes; less costs time where packets are lost, as what comes behind a lost
#: one is acknowledged with it. At 20 Mbit/s, 100 ms and 1 % loss 320 KiB came to 12 Mbit/s, 384 KiB to 13, 448 KiB to
#: 15 and 512 KiB to 17. OpenSSH's own limit is 2 MiB (channels.h, CHAN_SES_WINDOW_DEFAULT).
WINDOW_BYTES = 320 * 1024
_MAX_ANSWER_BYTES = 256 * 1024
_LOOK_EVERY_S = 0.5


class NotStoredError(SiteError):
    """The node took bytes, but did not store them."""

    code = "E-ARTIFACT-SEND"
    retry = Retry.BUDGETED


class SftpWriter:
    """One SFTP session; files are written one after the other, each from one thread."""

    def __init__(
        self,
        connection: Connection,
        *,
        stall_s: float,
        window_bytes: int = WINDOW_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the session.

        Raises:
            SiteUnreachableError: the connection was lost, or nothing was acknowledged for `stall_s` (E-SITE-STALLED).
            SiteError: the site's sshd offers no SFTP (E-STAGE-SFTP).
        """
        self._name = connection.name
        self._transport = connection.transport
        self._stall_s = stall_s
        self._window_bytes = window_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._sizes: dict[int, int] = {}  # requests that are not answered: number -> bytes of content
        self._in_flight = 0
        self._answers: dict[int, tuple[int, bytes]] = {}  # of requests other than writes
        self._number = 0
        self._heard_at = clock()
        self._waits = True  # something was asked and is not answered
        self._is_over = False
        self._is_stalled = False
        self._failure = ""
        self._channel = connection.session(timeout_s=stall_s)
        threading.Thread(target=self._watch, daemon=True).start()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def open(self, path: str) -> bytes:
        """Open a file that exists, to write to it; the answer is its handle.

        Raises:
            SiteUnreachableError: as above.
            NotStoredError: the file is not there, or not ours (E-ARTIFACT-SEND).
        """
        name = path.encode()
        body = struct.pack(">I", len(name)) + name + struct.pack(">II", SFTP_FLAG_WRITE, 0)
        kind, answer = self._ask(CMD_OPEN, body)
        if kind != CMD_HANDLE:
            raise self._not_stored(_reason(answer))
        return answer[4 : 4 + int.from_bytes(answer[:4], "big")]

    def write(self, handle: bytes, offset: int, data: bytes) -> None:
        """Send at most `WRITE_BYTES`; waits while the window is full, not for the answer.

        Raises:
            SiteUnreachableError: as above.
            NotStoredError: this or an earlier write failed at the node.
        """
        head = struct.pack(">I", len(handle)) + handle + struct.pack(">QI", offset, len(data))
        with self._changed:
            self._changed.wait_for(lambda: self._is_broken or self._in_flight + len(data) <= self._window_bytes)
            self._check()
        self._send(CMD_WRITE, head + data, len(data))

    def flush(self) -> None:
        """Wait until everything was acknowledged; raises as `write`."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_broken or not self._sizes)
            self._check()

    def close(self, handle: bytes) -> None:
        """Close a file after all was acknowledged; raises as `write`."""
        self.flush()
        self._ask(CMD_CLOSE, struct.pack(">I", len(handle)) + handle)

    @property
    def _is_broken(self) -> bool:
        return self._is_over or bool(self._failure)

    def _start(self) -> None:
        try:
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, OSError, EOFError) as exc:
            is_there = self._transport.is_active()
            self._end()
            if not is_there:
                raise self._lost() from exc
            raise SiteError(
                f"the sshd of {self._name} offers no SFTP",
                hint="Add `Subsystem sftp internal-sftp` to its sshd_config.",
                code="E-STAGE-SFTP",
            ) from exc
        threading.Thread(target=self._listen, daemon=True).start()
        self._send_packet(bytes([CMD_INIT]) + struct.pack(">I", 3))
        with self._changed:
            self._changed.wait_for(lambda: self._is_broken or 0 in self._answers)
            self._check()

    def _ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        number = self._send(kind, body, 0)
        with self._changed:
            self._changed.wait_for(lambda: self._is_broken or number in self._answers)
            self._check()
            return self._answers.pop(number)

    def _send(self, kind: int, body: bytes, size: int) -> int:
        with self._changed:
            self._number += 1
            number = self._number
            if not self._waits:  # the silence before was nobody's fault
                self._heard_at = self._clock()
            self._waits = True
            self._sizes[number] = size
            self._in_flight += size
        self._send_packet(bytes([kind]) + struct.pack(">I", number) + body)
        return number

    def _send_packet(self, packet: bytes) -> None:
        try:
            self._channel.sendall(struct.pack(">I", len(packet)) + packet)
        except (paramiko.SSHException, OSError, EOFError) as exc:
            with self._changed:
                self._is_over = True
            raise self._lost() from exc

    def _listen(self) -> None:
        try:
            while True:
                size = int.from_bytes(self._receive(4), "big")
                if not 0 < size <= _MAX_ANSWER_BYTES:
                    break
                self._take(self._receive(size))
        except (paramiko.SSHException, OSError, EOFError, ValueError):
            pass
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            block = self._channel.recv(size - len(data))
            if not block:
                raise EOFError
            data += block
        return bytes(data)

    def _take(self, packet: bytes) -> None:
        kind, number = packet[0], int.from_bytes(packet[1:5], "big")
        with self._changed:
            self._heard_at = self._clock()
            if kind == CMD_VERSION:
                self._answers[0] = (kind, b"")
            elif number not in self._sizes:
                raise ValueError("an answer to nothing")
            else:
                size = self._sizes.pop(number)
                self._in_flight -= size
                if size == 0:
                    self._answers[number] = (kind, packet[5:])
                elif kind != CMD_STATUS or packet[5:9] != bytes(4):
                    self._failure = self._failure or _reason(packet[5:])
            self._waits = bool(self._sizes)
            self._changed.notify_all()

    def _watch(self) -> None:
        """Close a connection on which the node is silent though it was asked: nothing else would end the wait."""
        with self._changed:
            while not self._is_over:
                self._changed.wait_for(lambda: self._is_over, timeout=_LOOK_EVERY_S)
                if not self._is_over and self._waits and self._clock() - self._heard_at > self._stall_s:
                    self._is_stalled = self._is_over = True
        if self._is_stalled:
            self._transport.close()
            with self._changed:
                self._changed.notify_all()

    def _check(self) -> None:
        if self._failure:
            raise self._not_stored(self._failure)
        if self._is_over:
            raise self._lost()

    def _lost(self) -> SiteUnreachableError:
        if self._is_stalled:
            return SiteUnreachableError(
                f"{self._name} has acknowledged nothing for {self._stall_s:g} s", code="E-SITE-STALLED"
            )
        return SiteUnreachableError(f"the connection to {self._name} was lost during a transfer")

    def _not_stored(self, reason: str) -> NotStoredError:
        return NotStoredError(
            f"{self._name} did not store what was sent: {reason}",
            hint="Look at the node's disk (df, dmesg); the next attempt goes on where this one stopped.",
        )

    def _end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        with suppress(paramiko.SSHException, OSError, EOFError):  # it says farewell, which a lost connection cannot
            self._channel.close()


def _reason(status: bytes) -> str:
    """The text of a status (code, text, language), as the node wrote it."""
    text = status[8 : 8 + int.from_bytes(status[4:8], "big")].decode(errors="replace")
    return text[:200] or f"status {int.from_bytes(status[:4], 'big')}"
