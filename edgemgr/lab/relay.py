"""Starting the relay that makes a site's link bad, and leading its packets there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab import processes
from edgemgr.lab.network import SITE_RELAY, SiteNetwork, route_through_relay
from edgemgr.lab.processes import ProcessIdentity

START_TIMEOUT_S = 10.0


def degrade_link(
    net: SiteNetwork, log: Path, *, delay_ms: float, loss_percent: float, rate_mbit: float
) -> ProcessIdentity:
    """Let the link have this delay, loss and rate in each direction, until the relay is killed.

    Raises:
        LabError: E-LAB-LINK, a value makes no sense or the relay did not start.
    """
    if not (0 <= delay_ms <= 60_000 and 0 <= loss_percent <= 100 and rate_mbit > 0):  # noqa: PLR2004 - a minute, percent
        raise LabError(
            f"no link has a delay of {delay_ms:g} ms, a loss of {loss_percent:g} % and a rate of {rate_mbit:g} Mbit/s",
            hint="Delay 0 to 60000 ms, loss 0 to 100 %, rate above 0 Mbit/s.",
            code="E-LAB-LINK",
        )
    if not Path("/dev/net/tun").exists():
        raise LabError("this machine has no /dev/net/tun", hint="Load the kernel module tun.", code="E-LAB-LINK")
    log.write_text("")
    relay = processes.start(
        [
            sys.executable, "-m", "edgemgr.lab.slow_link",
            "--near", net.relay, "--far", SITE_RELAY, "--namespace", str(net.namespace_path),
            "--delay", f"{delay_ms:g}", "--loss", f"{loss_percent:g}", "--rate", f"{rate_mbit:g}",
        ],
        log=log,
    )  # fmt: skip
    deadline = time.monotonic() + START_TIMEOUT_S
    while "ready" not in log.read_text():
        if not processes.is_alive(relay) or time.monotonic() > deadline:
            processes.kill(relay)
            raise LabError(f"the relay of {net.address} did not start: {log.read_text()[-300:]}", code="E-LAB-LINK")
        time.sleep(0.02)
    route_through_relay(net)
    return relay
