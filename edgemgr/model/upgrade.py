"""An upgrade as it is planned: the hops of a site, the checks before it, and what they come to. Data without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from edgemgr.model.bundle_name import BundleName

#: So long a hop may take on the node before it rolls itself back, unless its plan says otherwise.
HOP_DEADLINE_S = 1200
#: So long all has to be well before a version is accepted; so long it may take until then. The module `upgrade` of the
#: collection has the same.
SOAK_S, SETTLE_S = 180, 600


@dataclass(frozen=True)
class Wish:
    """What is asked for, of many sites at once."""

    bundle: BundleName
    version: str | None = None  #: of k3s; None: the newest of the bundle
    hours: str | None = None  #: in which sites may be disturbed, each by its own clock; None: at any time
    config: Mapping[str, Any] | None = None  #: k3s options in place of those that the sites have; None: they stay


@dataclass(frozen=True)
class Hop:
    """One step of an upgrade, with a backup and a verdict of its own: at most one minor version.

    From a version to itself it changes the configuration alone, and needs no files.
    """

    from_version: str
    to_version: str

    @property
    def needs_files(self) -> bool:
        """Whether another version comes."""
        return self.from_version != self.to_version


@dataclass(frozen=True)
class Refusal:
    """Why a site cannot be brought to a version: stable code, one sentence, what to do next."""

    code: str
    message: str
    hint: str


class Preflight(StrEnum):
    """What is looked at before an upgrade, in the order in which it is shown."""

    SSH = "ssh"  #: the host key is pinned
    SUDO = "sudo"
    ARCH = "arch"  #: and operating system
    VERSION = "version"  #: the way from what runs to the goal, a minor version at a time
    BUSY = "busy"  #: nothing else changes the site
    DISK = "disk"
    MEMORY = "memory"
    CLOCK = "clock"
    CERTIFICATES = "certificates"
    NODE = "node"  #: Ready, and short of nothing
    PODS = "pods"  #: of the system
    DATASTORE = "datastore"
    NETWORK = "network"  #: the node's address, and its default route
    CONFIG = "config"  #: options that the new version no longer knows
    WINDOW = "window"  #: the hours in which the site may be disturbed are long enough


class Verdict(StrEnum):
    """How a check came out, as far as the appliance can judge it from what it knows.

    The node makes all checks again before it stops anything, whatever was said here.
    """

    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"  #: worth knowing, but no reason to stop
    BLOCK = "block"
    ASK = "ask"  #: asked on the site: nothing is known of it here


@dataclass(frozen=True)
class Check:
    """One check; `detail` is one sentence. A blocking one has a stable code, and says what to do."""

    check: Preflight
    verdict: Verdict
    detail: str
    code: str = ""
    hint: str = ""


class PlanState(StrEnum):
    """What the plan of a site comes to."""

    READY = "ready"
    WARNED = "warned"  #: it can be upgraded; somebody should read why there is a warning
    BLOCKED = "blocked"
    UP_TO_DATE = "up_to_date"  #: it runs the goal already


@dataclass(frozen=True)
class UpgradePlan:
    """One site of a selection. What is not known is empty or None."""

    site: str
    state: PlanState
    arch: str
    from_version: str
    to_version: str
    hops: tuple[Hop, ...]  #: empty: nothing to do, or no way leads there
    staged: bool  #: the bundle lies on the node, as far as was told
    most_s: int  #: so long it can take at most, with every hop at its deadline
    observed_at: datetime | None  #: what the checks know of the node is of then
    code: str  #: of the first check that blocks
    why: str  #: what blocks, or else what is warned about
    hint: str
    checks: tuple[Check, ...]  #: all of them in their order; none where there is nothing to do

    def count(self, verdict: Verdict) -> int:
        """How many checks came out so."""
        return sum(check.verdict is verdict for check in self.checks)

    @property
    def needs_files(self) -> bool:
        """Whether the bundle has to lie on the node."""
        return any(hop.needs_files for hop in self.hops)

    @property
    def way(self) -> str:
        """The versions that it will have run, from first to last."""
        return " → ".join([self.from_version, *(hop.to_version for hop in self.hops)]) if self.hops else ""
