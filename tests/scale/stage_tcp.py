"""What TCP says of the connections to the sites: bytes that a program gave it and it sent, and those it sent again.

The kernel counts both for each connection (tcpi_bytes_sent and tcpi_bytes_retrans of tcp_info, shown by ss(8)). So what
the loss of the link makes TCP repeat is told apart from what a program sends twice.
"""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass

_FIELD = re.compile(r"\b(bytes_sent|bytes_retrans):(\d+)")
_CONTROLS = ("bbr", "cubic", "reno")


@dataclass(frozen=True)
class Stream:
    """One connection from this machine to a site, or all of them together."""

    sent_bytes: int = 0  #: TCP's payload, with what it sent again
    again_bytes: int = 0

    @property
    def given_bytes(self) -> int:
        """What a program gave TCP to send, as far as it was sent."""
        return self.sent_bytes - self.again_bytes

    def __add__(self, other: Stream) -> Stream:
        return Stream(self.sent_bytes + other.sent_bytes, self.again_bytes + other.again_bytes)


class TcpLedger:
    """Every connection that was ever seen, as it was seen last; has to be asked often. Any thread may."""

    def __init__(self, subnet: str) -> None:
        self._subnet = subnet
        self._streams: dict[tuple[str, str], Stream] = {}
        self._controls: dict[str, set[str]] = {}
        self._guard = threading.Lock()

    def look(self) -> None:
        """See all that stand, and those that their program has left."""
        command = ["ss", "--tcp", "--info", "--numeric", "--no-header", "--oneline", "dst", self._subnet]
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        with self._guard:
            for line in told.splitlines():
                words = line.split()
                local, peer = words[3:5]
                address = peer.rpartition(":")[0]
                counts = dict(_FIELD.findall(line))
                if "bytes_sent" in counts:
                    stream = Stream(int(counts["bytes_sent"]), int(counts.get("bytes_retrans", 0)))
                    self._streams[local, address] = stream
                    self._controls.setdefault(address, set()).update(set(_CONTROLS) & set(words))

    def to(self, address: str) -> Stream:
        """All connections to an address together."""
        with self._guard:
            streams = [stream for (_, to), stream in self._streams.items() if to == address]
        return sum(streams, Stream())

    def controls(self, address: str) -> list[str]:
        """The congestion controls that were seen on them."""
        with self._guard:
            return sorted(self._controls.get(address, ()))
