"""The link of one lab site in the part on staging: slow and lossy, cut and mended, and every byte on it counted.

It is the lab's bad link (`edgemgr.lab.slow_link`) and the lab's cut. What `edgemgr lab degrade` cannot say is which
congestion control connections begin with: a route can (`congctl` in ip-route(8)), also for whoever asks for another.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fleet_links import LinkQuality

from edgemgr.lab import processes
from edgemgr.lab.network import INTERFACES, SITE_INTERFACE, SITE_RELAY, cut_link, mend_link, site_network
from edgemgr.lab.processes import ProcessIdentity
from edgemgr.lab.programs import run_program
from edgemgr.lab.simulated_site import SimulatedSite

START_TIMEOUT_S = 10.0
DOING = "play a bad link"


@dataclass(frozen=True)
class Carried:
    """IP bytes that were put on the link by its two ends, those that were lost there included."""

    there_bytes: int = 0  #: from the appliance to the site
    back_bytes: int = 0

    def __add__(self, other: Carried) -> Carried:
        return Carried(self.there_bytes + other.there_bytes, self.back_bytes + other.back_bytes)

    def __sub__(self, other: Carried) -> Carried:
        return Carried(self.there_bytes - other.there_bytes, self.back_bytes - other.back_bytes)


class StageLink:
    """While it is cut, packets leave by the lab's own pair of interfaces, where they vanish; these count as well."""

    def __init__(self, lab: Path, subnet: str, site: SimulatedSite, quality: LinkQuality, control: str) -> None:
        """`control`: what both ends begin their connections with, `cubic` or `bbr`."""
        self.net = site_network(lab, subnet, site.number)
        self.control = control
        self._quality = quality
        self._log = lab / f"stage-link-{site.number}.log"
        self._relay: ProcessIdentity | None = None
        self._before = Carried()  #: by the devices of relays that have ended

    def open(self) -> None:
        """Make a good link bad."""
        self._start()

    def cut(self) -> None:
        """Let every packet vanish, those on their way included."""
        cut_link(self.net)
        self._route(self.net.interface)
        self._ip(f"route delete {self.net.gateway}/32 dev {SITE_RELAY}", inside=True)
        self._before += self._on_relay()
        self.close()

    def forget(self) -> None:
        """Have the site forget all connections that stand; the appliance learns of it by its next packet."""
        inside = ("ip", "netns", "exec", self.net.namespace)
        run_program(*inside, "ss", "-K", "-t", "state", "established", doing=DOING)

    def mend(self) -> None:
        """End a cut. At no moment is the link a good one."""
        self._start()
        mend_link(self.net)

    def close(self) -> None:
        """End the relay, and with it its devices."""
        if self._relay is not None:
            processes.kill(self._relay)
            self._relay = None

    def carried(self) -> Carried:
        """Since the site was made."""
        cut = Carried(_sent(self.net.interface), self._far(SITE_INTERFACE))
        return self._before + cut + (self._on_relay() if self._relay is not None else Carried())

    def _route(self, interface: str) -> None:
        to = f"route replace {self.net.address}/32 dev {interface} src {self.net.gateway} congctl {self.control}"
        self._ip(to)

    def _start(self) -> None:
        quality = self._quality
        self._log.write_text("")
        relay = processes.start(
            [
                sys.executable, "-m", "edgemgr.lab.slow_link",
                "--near", self.net.relay, "--far", SITE_RELAY, "--namespace", str(self.net.namespace_path),
                "--delay", str(quality.delay_ms), "--loss", str(quality.loss_percent),
                "--rate", str(quality.rate_mbit),
            ],
            log=self._log,
        )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while "ready" not in self._log.read_text():
            assert processes.is_alive(relay), self._log.read_text()
            assert time.monotonic() < deadline, "the relay did not start"
            time.sleep(0.02)
        self._ip(f"link set {SITE_RELAY} up", inside=True)
        back = f"route replace {self.net.gateway}/32 dev {SITE_RELAY} src {self.net.address} congctl {self.control}"
        self._ip(back, inside=True)
        self._ip(f"link set {self.net.relay} up")
        self._route(self.net.relay)
        self._relay = relay

    def _on_relay(self) -> Carried:
        return Carried(_sent(self.net.relay), self._far(SITE_RELAY))

    def _far(self, interface: str) -> int:
        told = self._ip(f"link show {interface}", "-json", "-statistics", inside=True)
        number: int = json.loads(told)[0]["stats64"]["tx"]["bytes"]
        return number

    def _ip(self, command: str, *options: str, inside: bool = False) -> str:
        where = ("-netns", self.net.namespace) if inside else ()
        return run_program("ip", *where, *options, *command.split(), doing=DOING)


def _sent(interface: str) -> int:
    return int((INTERFACES / interface / "statistics/tx_bytes").read_text())
