"""Booting and ending a site, whichever its flavour."""

from __future__ import annotations

import threading
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab import cgroups, full_flavour, light_flavour, processes
from edgemgr.lab.network import SiteNetwork, processes_inside
from edgemgr.lab.processes import ProcessIdentity
from edgemgr.lab.simulated_site import Flavour, SimulatedSite
from edgemgr.lab.site_files import SiteFiles
from edgemgr.lab.ssh_banner import StillDarkError, wait_for_banner

BOOT_TIMEOUT_S = 120.0


def boot(site: SimulatedSite, files: SiteFiles, net: SiteNetwork, *, base: Path) -> ProcessIdentity:
    """Start a site's processes; returns at once."""
    if site.flavour is Flavour.FULL:
        return full_flavour.boot(site.name, files, net, base=base)
    return light_flavour.boot(site.name, files, net, base=base)


def leader(site: SimulatedSite) -> int | None:
    """Find the site's process 1, as this machine counts; None while there is none."""
    if site.process is None or not processes.is_alive(site.process):
        return None
    if site.flavour is Flavour.FULL:
        return full_flavour.leader(site.process)
    return light_flavour.leader(site.process)


def wait_until_booted(site: SimulatedSite, files: SiteFiles, give_up: threading.Event) -> None:
    """Return as soon as the site's sshd answers.

    Raises:
        LabError: E-LAB-BOOT, it did not; with the end of the console.
    """
    try:
        wait_for_banner(
            site.address,
            site.port,
            within_s=BOOT_TIMEOUT_S,
            is_alive=lambda: processes.is_alive(site.process),
            give_up=give_up,
        )
    except StillDarkError as exc:
        raise LabError(
            f"{site.name} did not boot: {exc}. Its console ends: {files.console_tail(3) or '(nothing)'}",
            hint=f"Read {files.console}, then `edgemgr lab down {site.name}` and `edgemgr lab up` again.",
            code="E-LAB-BOOT",
        ) from exc


def end(site: SimulatedSite, net: SiteNetwork) -> None:
    """Kill all processes of a site at once, as a power cut does; what it has written stays.

    Besides the process that was recorded, everything in the site's network namespace is killed: that is how the
    processes of a site are found whose start was not recorded, because the lab's own command was killed.

    Raises:
        LabError: E-LAB-STUCK, a process does not end.
    """
    first = [site.process] if site.process else []
    # The keeper first, so that it starts nothing anew; then what it kept.
    inside = [processes.identify(pid) for pid in (leader(site), *processes_inside(net)) if pid]
    for process in [*first, *(process for process in inside if process)]:
        if not processes.kill(process):
            raise LabError(f"process {process.pid} of {site.name} does not end", code="E-LAB-STUCK")
    if site.flavour is Flavour.FULL:
        cgroups.remove_groups(net.namespace)
