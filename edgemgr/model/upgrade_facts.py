"""UpgradeFacts: what the appliance knows of a site that is to be upgraded. What a site told of itself is hostile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edgemgr.model.cluster import Health, Reachability
from edgemgr.model.release import Arch
from edgemgr.model.site import DEFAULT_USER, Trust
from edgemgr.model.told import Told

#: What was observed longer ago says how the site was, not how it is.
FRESH = timedelta(hours=1)

_ARCHS = {arch.value: arch for arch in Arch} | {"armhf": Arch.ARM}  # k3s has two names for 32-bit ARM


@dataclass(frozen=True)
class OpenChange:
    """An operation that changes the site and has not ended."""

    kind: str
    is_running: bool


@dataclass(frozen=True)
class UpgradeFacts(Told):
    """One site: what an operator said, what was observed, and what is under way."""

    site_id: int
    name: str
    user: str = DEFAULT_USER
    trust: str = Trust.UNKNOWN
    wanted_arch: str = ""
    timezone: str | None = None
    is_paused: bool = False
    paused_why: str = ""
    reachability: str = Reachability.UNKNOWN
    contact_at: datetime | None = None
    health: str = Health.UNKNOWN
    health_reason: str = ""
    observed_at: datetime | None = None
    k3s_version: str = ""
    seen_arch: str = ""
    os: str = ""
    changes: tuple[OpenChange, ...] = ()
    config: Mapping[str, Any] | None = None  #: k3s options of the bootstrap that succeeded last; None: there was none

    @property
    def arch(self) -> Arch | None:
        """Its architecture, as expected or else as observed; None when nobody knows."""
        return _ARCHS.get(self.wanted_arch or self.seen_arch)

    @property
    def is_of_other_arch(self) -> bool:
        """Whether the node was seen to be of another architecture than the inventory says."""
        seen = _ARCHS.get(self.seen_arch, self.seen_arch)
        return bool(self.wanted_arch and seen) and _ARCHS.get(self.wanted_arch, self.wanted_arch) != seen

    def is_fresh(self, now: datetime) -> bool:
        """Whether the last observation is of now."""
        return self.observed_at is not None and now - self.observed_at <= FRESH
