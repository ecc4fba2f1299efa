"""Where the console may be reached. As long as it has no login, only from the appliance's own machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from edgemgr.errors import ConfigurationError

_LOOPBACK_NAME = "localhost"
_PORT_MAX = 65535
_BACKLOG = 128


@dataclass(frozen=True)
class ListenAddress:
    """A loopback address and a port; port 0 means any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.

        Raises:
            ConfigurationError: it is no address and port, or one that other machines can reach (E-CONFIG-LISTEN).
        """
        host, _, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not (port.isascii() and port.isdigit() and int(port[:6]) <= _PORT_MAX):
            raise ConfigurationError(
                f"{text!r} is no address to listen on",
                hint="Write an address and a port, for example 127.0.0.1:8080.",
                code="E-CONFIG-LISTEN",
            )
        if not _is_loopback(host):
            raise ConfigurationError(
                f"the console does not listen on {host}: it has no login yet, and other machines could reach it",
                hint="Listen on 127.0.0.1, and reach it from elsewhere through SSH: "
                f"`ssh -L {port}:127.0.0.1:{port} THIS-HOST`, then open http://127.0.0.1:{port}/.",
                code="E-CONFIG-LISTEN",
            )
        return cls(host, int(port))

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def bind(self) -> socket.socket:
        """Open the listening socket, so that a port that is taken is known before anything else starts.

        Raises:
            ConfigurationError: the port is taken or may not be used (E-CONFIG-PORT).
        """
        host = "127.0.0.1" if self.host == _LOOPBACK_NAME else self.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, self.port))
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            raise ConfigurationError(
                f"the console cannot listen on {self.host}:{self.port}: {exc.strerror}",
                hint="Another `edgemgr serve` or another program may have the port: stop it, or use --listen.",
                code="E-CONFIG-PORT",
            ) from exc
        return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _LOOPBACK_NAME
