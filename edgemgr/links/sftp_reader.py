"""Reading ranges of files at a site by SFTP so that a long link stays full, and so that a dead one is noticed.

SFTP version 3 (draft-ietf-secsh-filexfer-02) over a channel of paramiko; only what reading needs. paramiko's own
`SFTPFile.readv` was not enough: it asks from a thread that ends with a traceback when the link dies, and waits for
answers without an end (sftp_file.py, `_prefetch_thread`). Requests are small, so one thread can do both here.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_INIT,
    CMD_OPEN,
    CMD_READ,
    CMD_VERSION,
    SFTP_FLAG_READ,
)

from edgemgr.errors import SiteError, SiteUnreachableError
from edgemgr.links.connection import Connection

#: Every server gives 32 KiB for a request (the draft's section 3).
READ_BYTES = 32 * 1024
#: Bytes that may be asked for and not have come: 512 KiB fill 42 Mbit/s at a round trip of 100 ms.
WINDOW_BYTES = 512 * 1024
_MAX_ANSWER_BYTES = 256 * 1024


class SftpReader:
    """One SFTP session; files are read one after the other, from one thread."""

    def __init__(self, connection: Connection, *, stall_s: float, window_bytes: int = WINDOW_BYTES) -> None:
        """Start the session.

        Raises:
            SiteUnreachableError: the connection was lost, or nothing came for `stall_s` (E-SITE-STALLED).
            SiteError: the site's sshd offers no SFTP (E-STAGE-SFTP).
        """
        self._name = connection.name
        self._transport = connection.transport
        self._stall_s = stall_s
        self._window_bytes = window_bytes
        self._number = 0
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._channel = connection.session(timeout_s=stall_s)
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(paramiko.SSHException, OSError, EOFError):  # a lost connection cannot be told farewell
            self._channel.close()

    def read_ranges(self, path: str, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """Read parts of a file, each (offset, at most `READ_BYTES`), and give them in that order.

        Each range is asked for when it comes, so whoever makes them may wait in between, and ends by making no more.
        Where the file ends early, fewer bytes are given.

        Raises:
            SiteUnreachableError: as above.
            SiteError: the file is not there or not ours to read (E-BACKUP-READ).
        """
        handle = self._open(path)
        asked: deque[tuple[int, int, int]] = deque()
        in_flight = 0
        for offset, size in ranges:
            asked.append((self._ask_for(handle, offset, size), offset, size))
            in_flight += size
            while in_flight > self._window_bytes:
                in_flight -= asked[0][2]
                yield self._range(handle, *asked.popleft())
        while asked:
            yield self._range(handle, *asked.popleft())
        self._answer_to(self._send(CMD_CLOSE, _text(handle)))

    def read_file(self, path: str, limit_bytes: int) -> bytes:
        """Read a whole file, but no more than `limit_bytes`; raises as `read_ranges`."""
        ranges = ((at, min(READ_BYTES, limit_bytes - at)) for at in range(0, limit_bytes, READ_BYTES))
        data = bytearray()
        for _, part in self.read_ranges(path, ranges):
            data += part
            if len(part) < READ_BYTES:
                break
        return bytes(data)

    def _open(self, path: str) -> bytes:
        body = _text(path.encode()) + struct.pack(">II", SFTP_FLAG_READ, 0)
        kind, answer = self._answer_to(self._send(CMD_OPEN, body))
        if kind != CMD_HANDLE:
            raise SiteError(
                f"{self._name} did not let a backup be read: {_reason(answer)}",
                hint="The node may have removed it; take a new one.",
                code="E-BACKUP-READ",
            )
        return answer[4 : 4 + int.from_bytes(answer[:4], "big")]

    def _range(self, handle: bytes, number: int, offset: int, size: int) -> tuple[int, bytes]:
        data = bytearray()
        while True:
            kind, answer = self._answer_to(number)
            part = answer[4 : 4 + int.from_bytes(answer[:4], "big")] if kind == CMD_DATA else b""
            data += part
            if not part or len(data) >= size:  # without a part: the end of the file
                return offset, bytes(data)
            number = self._ask_for(handle, offset + len(data), size - len(data))

    def _ask_for(self, handle: bytes, offset: int, size: int) -> int:
        return self._send(CMD_READ, _text(handle) + struct.pack(">QI", offset, size))

    def _start(self) -> None:
        # paramiko waits without an end for the answer to this one.
        guard = threading.Timer(self._stall_s, self._transport.close)
        guard.daemon = True
        guard.start()
        try:
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, OSError, EOFError) as exc:
            if not self._transport.is_active():
                raise self._lost() from exc
            raise SiteError(
                f"the sshd of {self._name} offers no SFTP",
                hint="Add `Subsystem sftp internal-sftp` to its sshd_config.",
                code="E-STAGE-SFTP",
            ) from exc
        finally:
            guard.cancel()
        self._channel.settimeout(self._stall_s)
        self._send_packet(bytes([CMD_INIT]) + struct.pack(">I", 3))
        if self._packet()[0] != CMD_VERSION:
            raise self._lost()

    def _send(self, kind: int, body: bytes) -> int:
        self._number += 1
        self._send_packet(bytes([kind]) + struct.pack(">I", self._number) + body)
        return self._number

    def _send_packet(self, packet: bytes) -> None:
        try:
            self._channel.sendall(struct.pack(">I", len(packet)) + packet)
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise self._lost() from exc

    def _answer_to(self, number: int) -> tuple[int, bytes]:
        while number not in self._answers:
            packet = self._packet()
            self._answers[int.from_bytes(packet[1:5], "big")] = packet[0], packet[5:]
        return self._answers.pop(number)

    def _packet(self) -> bytes:
        try:
            size = int.from_bytes(self._receive(4), "big")
            if not 0 < size <= _MAX_ANSWER_BYTES:
                raise self._lost()
            return self._receive(size)
        except TimeoutError as exc:
            self._transport.close()
            raise SiteUnreachableError(
                f"{self._name} has sent nothing for {self._stall_s:g} s", code="E-SITE-STALLED"
            ) from exc
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise self._lost() from exc

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            block = self._channel.recv(size - len(data))
            if not block:
                raise EOFError
            data += block
        return bytes(data)

    def _lost(self) -> SiteUnreachableError:
        return SiteUnreachableError(f"the connection to {self._name} was lost during a transfer")


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _reason(status: bytes) -> str:
    """The text of a status (code, text, language), as the node wrote it."""
    text = status[8 : 8 + int.from_bytes(status[4:8], "big")].decode(errors="replace")
    return text[:200] or f"status {int.from_bytes(status[:4], 'big')}"
