"""Tunnel: a port on 127.0.0.1 that leads to a port of the site, inside an SSH connection that is already trusted."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgemgr.errors import ConflictError, SiteError
from edgemgr.links.connection import Connection

if TYPE_CHECKING:
    import paramiko

K3S_API_PORT = 6443
_LINES_AT_ONCE = 32
_CHUNK_BYTES = 65536
_TICK_S = 0.5


@contextmanager
def open_tunnel(
    connection: Connection, *, host: str = "127.0.0.1", port: int = K3S_API_PORT, listen_port: int = 0
) -> Iterator[int]:
    """Listen on 127.0.0.1 and yield the port number; `listen_port` 0 takes a free one. Ends with the block.

    Anybody on this machine can connect to that port: what is behind it must ask for credentials, as the Kubernetes
    API does.

    Raises:
        ConflictError: something else listens on `listen_port` (E-TUNNEL-PORT).
    """
    try:
        listener = socket.create_server(("127.0.0.1", listen_port), backlog=_LINES_AT_ONCE)
    except OSError as exc:
        raise ConflictError(
            f"port {listen_port} of 127.0.0.1 cannot be used: {exc.strerror}",
            hint="Choose another one with --listen, or leave it out for a free one.",
            code="E-TUNNEL-PORT",
        ) from exc
    tunnel = _Tunnel(connection, host, port, listener)
    thread = threading.Thread(target=tunnel.accept, name=f"tunnel-{connection.name}", daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        tunnel.stop.set()
        thread.join()
        listener.close()


class _Tunnel:
    def __init__(self, connection: Connection, host: str, port: int, listener: socket.socket) -> None:
        self._connection = connection
        self._way = (host, port)
        self._listener = listener
        self._free = threading.BoundedSemaphore(_LINES_AT_ONCE)
        self.stop = threading.Event()

    def accept(self) -> None:
        self._listener.settimeout(_TICK_S)
        lines: list[threading.Thread] = []
        while not self.stop.is_set():
            if not self._free.acquire(timeout=_TICK_S):
                continue
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                self._free.release()
                continue
            line = threading.Thread(target=self._carry, args=(client,), daemon=True)
            line.start()
            lines = [other for other in lines if other.is_alive()] + [line]
        for line in lines:
            line.join()

    def _carry(self, client: socket.socket) -> None:
        try:
            with client:
                channel = self._connection.channel_to(*self._way)
                try:
                    self._pump(client, channel)
                finally:
                    channel.close()
        except (SiteError, OSError):
            pass  # the client sees its connection closed, as it would without a tunnel
        finally:
            self._free.release()

    def _pump(self, client: socket.socket, channel: paramiko.Channel) -> None:
        open_ends: list[socket.socket | paramiko.Channel] = [client, channel]
        while open_ends and not self.stop.is_set():
            for end in select.select(open_ends, [], [], _TICK_S)[0]:
                data = end.recv(_CHUNK_BYTES)
                if data:
                    (channel if end is client else client).sendall(data)
                    continue
                open_ends.remove(end)
                if end is client:
                    channel.shutdown_write()
                else:
                    client.shutdown(socket.SHUT_WR)
