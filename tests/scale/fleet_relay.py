"""A program: all links of a fleet in user space, each with its own delay, loss and rate, and each coming and going.

What this machine and the sites have for each other passes two TUN devices, one here and one in the hub's network
namespace, and this process between them. On its standard input it is told `flap SECONDS` (the links come and go as
`flapping_link` says, from that moment of the monotonic clock on) or `steady`.
"""

from __future__ import annotations

import argparse
import heapq
import ipaddress
import os
import random
import select
import sys
import time
from dataclasses import dataclass, field

from flapping_link import Flapping, Link

from edgemgr.lab.slow_link import LARGEST_PACKET, LONGEST_QUEUE_S, enter_namespace, open_tun

SOURCE, DESTINATION = slice(12, 16), slice(16, 20)  # of an IPv4 packet (RFC 791)
READS = 64  #: packets that are taken from a device before the other one has its turn


@dataclass
class Relay:
    """`subnet`: the first address of the fleet; site n has the n-th /30 of it."""

    subnet: int
    delay_s: float
    loss: float
    bytes_per_s: float
    flapping: Flapping
    epoch_s: float | None = None  #: None: all links are up
    links: dict[int, Link] = field(default_factory=dict)
    free_at_s: dict[tuple[int, int], float] = field(default_factory=dict)
    on_the_way: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    count: int = 0

    def send(self, packet: bytes, end: slice, far: int, now_s: float) -> None:
        """Take a packet at one end; `end` says where the site's address stands in it, `far` where it is to go."""
        site = (int.from_bytes(packet[end]) - self.subnet) >> 2
        if not self._is_up(site, now_s) or random.random() < self.loss:  # noqa: S311 - no secret hangs on it
            return
        starts_at_s = max(now_s, self.free_at_s.get((site, far), 0.0))
        if starts_at_s - now_s > LONGEST_QUEUE_S:
            return
        free_at_s = self.free_at_s[site, far] = starts_at_s + len(packet) / self.bytes_per_s
        self.count += 1  # packets of the same moment keep their order
        heapq.heappush(self.on_the_way, (free_at_s + self.delay_s, self.count, far, packet))

    def _is_up(self, site: int, now_s: float) -> bool:
        if self.epoch_s is None or now_s < self.epoch_s:
            return True
        link = self.links.get(site)
        if link is None:
            link = self.links[site] = Link(self.flapping, site)
        return link.is_up(now_s - self.epoch_s)

    def obey(self, line: str) -> None:
        """A line of standard input."""
        word, *moment = line.split()
        self.epoch_s = float(moment[0]) if word == "flap" else None

    def deliver(self, now_s: float) -> float | None:
        """Hand over what has arrived; returns in how many milliseconds the next packet does."""
        while self.on_the_way and self.on_the_way[0][0] <= now_s:
            *_, far, packet = heapq.heappop(self.on_the_way)
            try:
                os.write(far, packet)
            except OSError:
                continue  # the far end is down: lost
        return max(0.0, (self.on_the_way[0][0] - now_s) * 1000) if self.on_the_way else None


def carry(relay: Relay, near: int, far: int) -> None:
    """Carry packets until standard input ends."""
    ends = {near: (DESTINATION, far), far: (SOURCE, near)}
    waiting = select.poll()
    for handle in (0, *ends):
        waiting.register(handle, select.POLLIN)
    wait_ms: float | None = None
    while True:
        for handle, _ in waiting.poll(wait_ms):
            if handle == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                relay.obey(line)
                continue
            end, other = ends[handle]
            for _ in range(READS):
                try:
                    packet = os.read(handle, LARGEST_PACKET)
                except BlockingIOError:
                    break
                if packet[0] >> 4 == 4:
                    relay.send(packet, end, other, time.monotonic())
        wait_ms = relay.deliver(time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("near", "far", "namespace", "subnet"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("delay-ms", "loss-percent", "rate-mbit", "up", "down", "seed"):
        parser.add_argument(f"--{name}", type=float, required=True)
    chosen = parser.parse_args()
    near = open_tun(chosen.near)
    enter_namespace(chosen.namespace)
    far = open_tun(chosen.far)
    relay = Relay(
        subnet=int(ipaddress.IPv4Network(chosen.subnet).network_address),
        delay_s=chosen.delay_ms / 1000,
        loss=chosen.loss_percent / 100,
        bytes_per_s=chosen.rate_mbit * 1_000_000 / 8,
        flapping=Flapping(chosen.up, chosen.down, int(chosen.seed)),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(relay, near, far)


if __name__ == "__main__":
    main()
