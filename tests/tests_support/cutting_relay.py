"""A TCP relay on 127.0.0.1 that cuts a connection after so many bytes, or lets nothing through any more."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_BLOCK_BYTES = 16384


class CuttingRelay:
    """Passes bytes on to `port`; `cut_after` and `silent_after` count what went up, for each connection by itself."""

    def __init__(self, port: int) -> None:
        self.cut_after: int | None = None
        self.silent_after: int | None = None
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        for each in self._open:
            _reset(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                threading.Thread(target=self._up, args=(near, far), daemon=True).start()
                threading.Thread(target=_pass, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := near.recv(_BLOCK_BYTES):
                if self.silent_after is not None and passed + len(data) > self.silent_after:
                    return  # nobody reads any more: the sender's window fills, as on a link that is down
                if self.cut_after is not None and passed + len(data) > self.cut_after:
                    far.sendall(data[: self.cut_after - passed])
                    break
                far.sendall(data)
                passed += len(data)
        _reset(near)
        _reset(far)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK_BYTES):
            target.sendall(data)


def _reset(sock: socket.socket) -> None:
    """Close without a farewell, so that neither side learns that the other had ended in order."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
