"""Every packet that leaves a network namespace, whatever sends it: a raw socket in the namespace (packet(7)).

Run as a program this is the half that stands inside; it needs nothing but Python.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 33, 263, 6
HEADER_BYTES = 128
BUFFER_BYTES = 32 << 20


@dataclass(frozen=True)
class Packet:
    """What packets that were alike had in common. `protocol` and ports are numbers; "" and 0 where there are none."""

    interface: str
    protocol: str  #: arp, or the number of IP's protocol
    target: str
    source_port: int
    target_port: int


@dataclass
class Capture:
    """Listens in the namespace at that path from `start` to `stop`."""

    namespace: Path
    seen: set[Packet] = field(default_factory=set)
    dropped: int = 0  #: packets that the kernel could not keep for us: then nothing is proven
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once everything that leaves is seen."""
        inside = [sys.executable, "-I", __file__]
        entering = ["nsenter", f"--net={self.namespace}", *inside]
        self._process = subprocess.Popen(entering, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    def stop(self) -> None:
        """End it, and take what it has seen; may be called again."""
        if self._process is None:
            return
        output, _ = self._process.communicate(timeout=30)
        self._process = None
        *packets, end = output.decode().splitlines()
        self.seen = {Packet(*json.loads(line)) for line in packets}
        self.dropped = int(end)


def packet_of(interface: str, kind: int, content: bytes) -> Packet:
    """Read the headers of a packet, without that of the Ethernet."""
    if kind == ETH_P_ARP:
        return Packet(interface, "arp", socket.inet_ntoa(content[24:28]), 0, 0)
    if kind == ETH_P_IP:
        length, protocol = (content[0] & 15) * 4, content[9]
        target = socket.inet_ntoa(content[16:20])
    elif kind == ETH_P_IPV6:
        length, protocol = 40, content[6]
        target = socket.inet_ntop(socket.AF_INET6, content[24:40])
    else:
        return Packet(interface, hex(kind), "", 0, 0)
    ports = struct.unpack("!HH", content[length : length + 4]) if protocol in (6, 17) else (0, 0)
    return Packet(interface, str(protocol), target, *ports)


def listen() -> None:
    """Print each kind of packet once, until standard input ends; then how many were lost."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        seen: set[Packet] = set()
        while True:
            readable, _, _ = select.select([link, sys.stdin], [], [])
            if link in readable:
                content, (interface, kind, direction, _, _) = link.recvfrom(HEADER_BYTES)
                packet = packet_of(interface, kind, content)
                if direction == socket.PACKET_OUTGOING and interface != "lo" and packet not in seen:
                    seen.add(packet)
                    sys.stdout.write(json.dumps(list(vars(packet).values())) + "\n")
            elif not sys.stdin.buffer.read1(1):
                break
        _, dropped = struct.unpack("II", link.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        sys.stdout.write(f"{dropped}\n")


if __name__ == "__main__":
    listen()
