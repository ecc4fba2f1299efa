"""A command on a site whose input, output and exit status are ours, as `ssh HOST COMMAND` gives them."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from edgemgr.errors import SiteUnreachableError
from edgemgr.links.connection import Connection

if TYPE_CHECKING:
    import paramiko

_CHUNK_BYTES = 65536
_TICK_S = 0.2
_LOST = -1  #: paramiko's exit status of a command whose connection ended first


def stream(connection: Connection, command: str, *, stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO) -> int:
    """Run `command` to its end and return its exit status. No time limit: the command decides, or Ctrl-C.

    Raises:
        SiteUnreachableError: the connection was lost before the command ended.
    """
    import paramiko

    channel = connection.session()
    try:
        channel.exec_command(command)
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True).start()
        errors = threading.Thread(target=_copy, args=(channel.recv_stderr, stderr), daemon=True)
        errors.start()
        _copy(channel.recv, stdout)
        errors.join()
        status = channel.recv_exit_status()
    except (paramiko.SSHException, EOFError) as exc:
        raise SiteUnreachableError(f"the connection to {connection.name} was lost during a command") from exc
    finally:
        channel.close()
    if status == _LOST:
        raise SiteUnreachableError(f"the connection to {connection.name} was lost during a command")
    return status


def _copy(receive: Callable[[int], bytes], target: BinaryIO) -> None:
    while data := receive(_CHUNK_BYTES):
        target.write(data)
        target.flush()


def _feed(channel: paramiko.Channel, source: BinaryIO) -> None:
    """Pass our input on until it ends; never wait for input that the command no longer reads."""
    with suppress(OSError, EOFError):
        while not channel.closed:
            if not select.select([source], [], [], _TICK_S)[0]:
                continue
            data = os.read(source.fileno(), _CHUNK_BYTES)
            if not data:
                channel.shutdown_write()
                return
            channel.sendall(data)
