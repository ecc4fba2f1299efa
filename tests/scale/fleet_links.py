"""The network of a large fleet of light lab sites: all links end in one hub, and one relay stands before it.

The lab gives every site a veth pair to this machine; their near ends move into a namespace, the hub, which forwards
between them and the relay's device. So one process makes all links bad, and lets them come and go without a command.
"""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flapping_link import Flapping

from edgemgr.lab.lab import Lab
from edgemgr.lab.network import SiteNetwork, site_network
from edgemgr.settings import program_environment

HUB, NEAR, FAR = "edgemgr-hub", "edgemgr-near", "edgemgr-far"
_RELAY = Path(__file__).with_name("fleet_relay.py")
_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default")


@dataclass(frozen=True)
class LinkQuality:
    """One way: half of the round trip's time."""

    delay_ms: float = 25.0
    loss_percent: float = 0.02
    rate_mbit: float = 20.0


@dataclass(frozen=True)
class FleetLinks:
    """The relay that carries all of them."""

    orders: IO[str]

    def flap(self, epoch_s: float) -> None:
        """From this moment of the monotonic clock on the links come and go."""
        self.orders.write(f"flap {epoch_s}\n")
        self.orders.flush()

    def steady(self) -> None:
        """All links are up."""
        self.orders.write("steady\n")
        self.orders.flush()


@contextmanager
def fleet_links(lab: Lab, subnet: str, quality: LinkQuality, flapping: Flapping) -> Iterator[FleetLinks]:
    """Lead the links of all sites of the lab through a relay, until the block ends; then end the lab."""
    networks = [site_network(lab.directory, subnet, site.number) for site in lab.list()]
    own = str(ipaddress.IPv4Network(subnet)[1])  # of the first /30, which no site has
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "netns", "delete", HUB], check=False, capture_output=True, timeout=60)
        _ip([f"netns add {HUB}"])
        orders = stack.enter_context(_relay(subnet, quality, flapping))
        _ip([f"link set {net.interface} netns {HUB}" for net in networks])
        _ip(_hub(networks, own), namespace=HUB)
        subprocess.run(
            ["ip", "netns", "exec", HUB, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"], check=True, timeout=10
        )
        _ip([f"address add {own}/32 dev {NEAR}", f"link set {NEAR} up", f"route add {subnet} dev {NEAR} src {own}"])
        yield FleetLinks(orders)


@contextmanager
def room_for_neighbours(count: int) -> Iterator[None]:
    """The kernel knows some thousand neighbours at most, of all namespaces together (arp(7)); then back to that."""
    before = {name: (_NEIGHBOURS / name).read_text() for name in ("gc_thresh3", "gc_thresh2", "gc_thresh1")}
    try:
        for name, text in before.items():
            (_NEIGHBOURS / name).write_text(str(max(int(text), 4 * count)))
        yield
    finally:
        for name, text in reversed(before.items()):
            (_NEIGHBOURS / name).write_text(text)


def _hub(networks: list[SiteNetwork], own: str) -> list[str]:
    lines = [f"link set {FAR} up", f"route add {own}/32 dev {FAR}"]
    for net in networks:
        lines += [f"address add {net.gateway}/30 dev {net.interface}", f"link set {net.interface} up"]
    return lines


@contextmanager
def _relay(subnet: str, quality: LinkQuality, flapping: Flapping) -> Iterator[IO[str]]:
    process = subprocess.Popen(
        [
            sys.executable, str(_RELAY), "--near", NEAR, "--far", FAR, "--namespace", f"/run/netns/{HUB}",
            "--subnet", subnet, "--delay-ms", str(quality.delay_ms), "--loss-percent", str(quality.loss_percent),
            "--rate-mbit", str(quality.rate_mbit), "--up", str(flapping.mean_up_s), "--down",
            str(flapping.mean_down_s), "--seed", str(flapping.seed),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=program_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the relay did not start"
        yield process.stdin
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def _ip(commands: list[str], *, namespace: str | None = None) -> None:
    inside = ["-netns", namespace] if namespace else []
    subprocess.run(
        ["ip", *inside, "-batch", "-"],
        input="\n".join(commands) + "\n",
        check=True,
        text=True,
        timeout=120,
        env=program_environment(),
    )
