"""One simulated site: what it is, how it is reached, and what runs for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgemgr.lab.processes import ProcessIdentity


class Flavour(StrEnum):
    """How much of a real node a simulated site has."""

    FULL = "full"  #: systemd and sshd in a container: boots in seconds
    LIGHT = "light"  #: one sshd in namespaces, a stand-in for systemctl: hundreds fit on one machine


class SiteState(StrEnum):
    """Whether the site's processes run."""

    RUNNING = "running"
    OFF = "off"


class LinkState(StrEnum):
    """How the link between this machine and the site is."""

    GOOD = "good"
    DEGRADED = "degraded"
    CUT = "cut"


@dataclass(frozen=True)
class SimulatedSite:
    """A site of the lab.

    Attributes:
        number: n of `site-n`; its address is derived from it.
        address: IPv4 address of the site; `gateway` is this machine's end of the link.
        host_key: the full public key line; `host_key_fingerprint` as `ssh-keygen -lf` shows it.
        disk_mib: size of the file system under /var/lib; None when it shares this machine's disk.
        process: what keeps the site running; `relay`: what degrades its link.
    """

    name: str
    number: int
    flavour: Flavour
    address: str
    gateway: str
    port: int
    user: str
    password: str
    host_key: str
    host_key_fingerprint: str
    disk_mib: int | None = None
    state: SiteState = SiteState.OFF
    link: LinkState = LinkState.GOOD
    process: ProcessIdentity | None = None
    relay: ProcessIdentity | None = None
