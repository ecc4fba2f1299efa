"""Which leaf certificates a start of k3s renews, and what stands against renewing them. Pure."""

from __future__ import annotations

import datetime as dt

from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion
from ansible_collections.edgemgr.edge.plugins.module_utils.node_certificates import Certificates, first_end

#: A start renews what ends within so many days (docs.k3s.io/cli/certificate); before May 2025 it was fewer.
RENEWED_DAYS, RENEWED_DAYS_BEFORE = 120, 90
_FIRST_PATCH = {30: 13, 31: 9, 32: 5, 33: 1}  # minor version → the first patch with the longer time
_DAY_S = 86400


def renewed_s(version: K3sVersion | None) -> int:
    """So long before its end a leaf is renewed by a start; the shorter time for a version that is not known."""
    is_newer = version is not None and version.minor >= min(_FIRST_PATCH)
    if version is None or not is_newer or version.patch < _FIRST_PATCH.get(version.minor, 0):
        return RENEWED_DAYS_BEFORE * _DAY_S
    return RENEWED_DAYS * _DAY_S


def due(leaves: dict[str, float], version: K3sVersion | None, now: float) -> list[str]:
    """The files of leaves that a start would renew."""
    return sorted(name for name, ends in leaves.items() if ends - now < renewed_s(version))


def still_old(before: Certificates, after: Certificates, names: list[str]) -> list[str]:
    """Which of these were not renewed. One that is gone is needed by nobody."""
    return [name for name in names if name in after.leaves and after.digests[name] == before.digests[name]]


def check(found: Certificates, is_installed: bool, was_cut: bool, now: float) -> Check:
    """Whether they can be renewed at all. A rotation that was cut off may have left no leaf."""
    ends, authority = first_end(found.leaves), first_end(found.authorities)
    if not is_installed:
        return blocked(
            "certificates",
            "E-ROTATE-UNFINISHED",
            "edgemgr has not installed k3s here, or has not finished it",
            "Bootstrap the site first.",
        )
    if authority is None or (ends is None and not was_cut):
        return blocked(
            "certificates",
            "E-ROTATE-NONE",
            "the certificates of k3s are not where it keeps them",
            "See whether k3s has ever started here: `journalctl -u k3s` on the node.",
        )
    if authority <= now:
        return blocked(
            "certificates",
            "E-ROTATE-CA",
            f"an authority of the cluster ended on {day(authority)}; what it signs counts for nothing",
            "Replace it first: `k3s certificate rotate-ca` on the node (docs.k3s.io/cli/certificate).",
        )
    leaf = "there is no leaf" if ends is None else f"the first leaf ends on {day(ends)}"
    return passed("certificates", f"{leaf}, the first authority on {day(authority)}")


def day(seconds: float) -> str:
    """A moment as a date."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).strftime("%Y-%m-%d")
