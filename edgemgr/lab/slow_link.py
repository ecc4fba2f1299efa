"""A bad link in user space: carries packets between this machine and a site late, slowly, and not all of them.

A program of its own, `python -m edgemgr.lab.slow_link`. The kernel's netem would do the same and is missing from
many small kernels; two TUN devices are in nearly all. Each direction has the delay, the loss and the rate.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000  # linux/sched.h
LARGEST_PACKET = 65536  # bytes
LONGEST_QUEUE_S = 0.4  # what waits longer for a slow line is dropped, as a modem does


class Pipe:
    """One direction: decides when a packet arrives at the other end, if it does."""

    def __init__(self, *, delay_s: float, loss: float, bytes_per_s: float, chance: random.Random) -> None:
        self.delay_s = delay_s
        self.loss = loss
        self.bytes_per_s = bytes_per_s
        self.chance = chance
        self.free_at_s = 0.0
        self.on_the_way: list[tuple[float, int, bytes]] = []
        self.count = 0

    def send(self, packet: bytes, now_s: float) -> None:
        """Take a packet at the near end."""
        starts_at_s = max(now_s, self.free_at_s)
        if self.chance.random() < self.loss or starts_at_s - now_s > LONGEST_QUEUE_S:
            return
        self.free_at_s = starts_at_s + len(packet) / self.bytes_per_s
        self.count += 1  # packets of the same moment keep their order
        heapq.heappush(self.on_the_way, (self.free_at_s + self.delay_s, self.count, packet))

    def arrived(self, now_s: float) -> list[bytes]:
        """Take out what has reached the far end by now."""
        packets = []
        while self.on_the_way and self.on_the_way[0][0] <= now_s:
            packets.append(heapq.heappop(self.on_the_way)[2])
        return packets


def open_tun(name: str) -> int:
    """Make a TUN device in the present network namespace; it ends with this process."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return handle


def enter_namespace(path: str) -> None:
    """Move this process to another network namespace."""
    handle = os.open(path, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns {path}")
    os.close(handle)


def carry(ends: dict[int, tuple[int, Pipe]]) -> None:
    """Carry packets while both devices exist; `ends`: device -> where its packets go, and through which pipe."""
    waiting = select.poll()
    for near in ends:
        waiting.register(near, select.POLLIN)
    while True:
        due = [pipe.on_the_way[0][0] for _, pipe in ends.values() if pipe.on_the_way]
        wait_ms = max(0.0, (min(due) - time.monotonic()) * 1000) if due else None
        for near, _ in waiting.poll(wait_ms):
            try:
                ends[near][1].send(os.read(near, LARGEST_PACKET), time.monotonic())
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno == errno.EBADFD:
                    return  # the device itself is gone: the site was taken down
                time.sleep(0.01)  # not up yet
        for far, pipe in ends.values():
            for packet in pipe.arrived(time.monotonic()):
                try:
                    os.write(far, packet)
                except OSError:
                    continue  # lost, as it would be on a line that went down


def main() -> None:
    """Make both devices, say `ready`, and carry packets until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--near", required=True, help="name of the device on this machine")
    parser.add_argument("--far", required=True, help="name of the device at the site")
    parser.add_argument("--namespace", required=True, help="path of the site's network namespace")
    parser.add_argument("--delay", type=float, required=True, help="milliseconds, each way")
    parser.add_argument("--loss", type=float, required=True, help="percent of the packets, each way")
    parser.add_argument("--rate", type=float, required=True, help="Mbit/s, each way")
    chosen = parser.parse_args()
    near = open_tun(chosen.near)
    enter_namespace(chosen.namespace)
    far = open_tun(chosen.far)
    there, back = (
        Pipe(
            delay_s=chosen.delay / 1000,
            loss=chosen.loss / 100,
            bytes_per_s=chosen.rate * 1_000_000 / 8,
            chance=random.Random(),  # noqa: S311 - no secret hangs on it
        )
        for _ in range(2)
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry({near: (far, there), far: (near, back)})


if __name__ == "__main__":
    main()
