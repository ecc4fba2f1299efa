"""Connection: an SSH session with a host whose key was checked, and what can be done over it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgemgr.errors import SiteError, SiteUnreachableError

if TYPE_CHECKING:
    import paramiko

OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class CommandResult:
    """What a command on the site came to."""

    status: int
    stdout: str
    stderr: str


class Connection:
    """Logged in; closes the jump host's connection with its own."""

    def __init__(self, transport: paramiko.Transport, name: str, *, jump: Connection | None = None) -> None:
        self.transport = transport
        self.name = name
        self._jump = jump

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; may be called twice."""
        self.transport.close()
        if self._jump is not None:
            self._jump.close()

    def session(self, *, timeout_s: float = 10.0) -> paramiko.Channel:
        """Open a channel on which one command can be started.

        Raises:
            SiteUnreachableError: the connection is gone.
        """
        return self._guarded("open a session", lambda: self.transport.open_session(timeout=timeout_s))

    def channel_to(self, host: str, port: int, *, timeout_s: float = 10.0) -> paramiko.Channel:
        """Open a byte stream to an address as this host sees it (direct-tcpip, RFC 4254 7.2).

        Raises:
            SiteUnreachableError: this host cannot reach it (E-SITE-FORWARD), or the connection is gone.
            SiteError: its sshd does not forward (E-SITE-FORWARD-FORBIDDEN).
        """
        return self._guarded(
            f"reach {host}:{port}",
            lambda: self.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout_s),
        )

    def run(
        self, command: str, *, stdin: str = "", timeout_s: float = 30.0, limit_bytes: int = OUTPUT_LIMIT_BYTES
    ) -> CommandResult:
        """Run one command and wait for its end. `timeout_s` is for the whole of it.

        Raises:
            SiteUnreachableError: the connection was lost or the command did not end in time.
            SiteError: more output than `limit_bytes` (E-SITE-OUTPUT).
        """
        deadline = time.monotonic() + timeout_s
        channel = self.session(timeout_s=timeout_s)
        try:
            channel.settimeout(timeout_s)
            channel.exec_command(command)
            _feed(channel, stdin.encode())
            stdout = self._drain(channel, channel.recv, deadline, limit_bytes)
            stderr = self._drain(channel, channel.recv_stderr, deadline, limit_bytes)
            _await_status(channel, deadline)
        except TimeoutError as exc:
            raise SiteUnreachableError(f"a command on {self.name} did not end in {timeout_s:g} s") from exc
        except (OSError, EOFError, self._ssh_exception) as exc:
            raise SiteUnreachableError(f"the connection to {self.name} was lost during a command") from exc
        finally:
            with contextlib.suppress(OSError, EOFError):  # on a dead link paramiko cannot say that it closes
                channel.close()
        return CommandResult(channel.exit_status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def _drain(
        self, channel: paramiko.Channel, receive: Callable[[int], bytes], deadline: float, limit_bytes: int
    ) -> bytes:
        data = bytearray()
        while True:
            channel.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = receive(_CHUNK_BYTES)
            if not chunk:
                return bytes(data)
            data += chunk
            if len(data) > limit_bytes:
                raise SiteError(f"a command on {self.name} wrote more than {limit_bytes} bytes", code="E-SITE-OUTPUT")

    def _guarded(self, what: str, open_channel: Callable[[], paramiko.Channel]) -> paramiko.Channel:
        import paramiko

        try:
            return open_channel()
        except paramiko.ChannelException as exc:
            if exc.code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                raise SiteError(
                    f"{self.name} may not {what}: its sshd forbids it",
                    hint="Allow it: AllowTcpForwarding in sshd_config, and port-forwarding for the key of edgemgr.",
                    code="E-SITE-FORWARD-FORBIDDEN",
                ) from exc
            raise SiteUnreachableError(f"{self.name} could not {what}: {exc.text}", code="E-SITE-FORWARD") from exc
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise SiteUnreachableError(f"the connection to {self.name} was lost") from exc

    @property
    def _ssh_exception(self) -> type[Exception]:
        import paramiko

        return paramiko.SSHException


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    """Give a command its input. One that ended without reading it is no lost connection."""
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except OSError:
        if channel.exit_status < 0:  # it did not say that it ended
            raise


def _await_status(channel: paramiko.Channel, deadline: float) -> None:
    if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
