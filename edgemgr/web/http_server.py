"""Serving the console over HTTP in a thread, beside the workers of the same process."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI

#: Time for answers under way when the server is told to stop, seconds.
_GRACE_S = 3
#: How often it looks whether it is to stop, seconds; uvicorn counts in tenths of a second.
_LOOK_S, _TENTHS = 0.5, 5


class _Server(uvicorn.Server):
    """uvicorn that wakes up less often: ten times a second was a sixth of all that an idle appliance costs."""

    async def main_loop(self) -> None:
        """Wait until it is to stop. Every second a tick renews the Date header (uvicorn 0.54, `Server.on_tick`)."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + _TENTHS) % 864_000
            await asyncio.sleep(_LOOK_S)


class HttpServer:
    """One uvicorn on an opened socket."""

    def __init__(self, console: FastAPI, listener: socket.socket) -> None:
        config = uvicorn.Config(
            console,
            log_config=None,  # our own logging is set up already
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # no proxy stands before us: nobody may claim another address
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Server(config)
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="http")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more requests, let those under way end, and wait for that."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        with self._listener:
            self._server.run(sockets=[self._listener])
