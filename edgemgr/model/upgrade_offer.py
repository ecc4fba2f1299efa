"""Offer: what a bundle holds for upgrades. Data without I/O."""

from __future__ import annotations

from dataclasses import dataclass

from edgemgr.model.release import Arch
from edgemgr.model.version import K3sVersion


@dataclass(frozen=True)
class OfferedRelease:
    """One k3s version for one architecture, program and images."""

    version: K3sVersion
    arch: Arch
    requires_from: tuple[str, ...] = ()  #: bounds, as they were signed: from which versions it may be reached
    binary_bytes: int = 0
    images_bytes: int = 0
    images_packed: bool = False  #: compressed, so that they grow when k3s unpacks them


@dataclass(frozen=True)
class Offer:
    """The releases that can be brought to sites, and the signed bounds of what these may run before."""

    bundle: str
    releases: tuple[OfferedRelease, ...]
    from_versions: tuple[str, ...] = ()

    @property
    def versions(self) -> frozenset[K3sVersion]:
        """Every version, for whatever architecture."""
        return frozenset(release.version for release in self.releases)

    def of(self, arch: Arch) -> dict[K3sVersion, OfferedRelease]:
        """What there is for an architecture."""
        return {release.version: release for release in self.releases if release.arch is arch}

    def archs_of(self, minor: tuple[int, int]) -> list[str]:
        """The architectures for which there is a final release of this minor version, in order."""
        return sorted(
            {
                release.arch.value
                for release in self.releases
                if release.version.candidate is None and (release.version.major, release.version.minor) == minor
            }
        )
