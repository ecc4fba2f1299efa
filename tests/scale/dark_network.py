"""A network of its own in which most addresses are dark: a network namespace, and in it a link to nobody.

Packets to 10.215.0.0/16 go to the far end of a pair which is not meant by them, and vanish, as those to a site that is
switched off. 127.0.0.0/8 is there, too, for whatever is to answer.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_NUMBERS = itertools.count(1)
_COMMAND_S = 30.0


@dataclass(frozen=True)
class DarkNetwork:
    """A command with `prefix` before it runs inside."""

    namespace: str

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]

    def run(self, *arguments: str) -> None:
        """`ip` inside, with these arguments."""
        _ip("-n", self.namespace, *arguments)


@contextmanager
def dark_network() -> Iterator[DarkNetwork]:
    """Needs root; nothing of it is left."""
    network = DarkNetwork(f"edgemgr-dark-{os.getpid()}-{next(_NUMBERS)}")
    _ip("netns", "add", network.namespace)
    try:
        network.run("link", "set", "lo", "up")
        network.run("link", "add", "dark0", "arp", "off", "type", "veth", "peer", "name", "dark1")
        network.run("link", "set", "dark1", "up")
        network.run("address", "add", "10.215.255.254/16", "dev", "dark0")
        network.run("link", "set", "dark0", "up")
        yield network
    finally:
        _ip("netns", "delete", network.namespace)


def dark_address(number: int) -> str:
    """The address of a site that does not answer; up to 60,000 of them."""
    return f"10.215.{number // 250}.{number % 250 + 1}"


def _ip(*arguments: str) -> None:
    command: Sequence[str] = ("ip", *arguments)
    subprocess.run(command, check=True, timeout=_COMMAND_S, capture_output=True)
