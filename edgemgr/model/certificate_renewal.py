"""From when on a start of k3s renews a leaf certificate. A pure rule; the collection has the same for the node."""

from __future__ import annotations

from datetime import datetime, timedelta

from edgemgr.model.version import K3sVersion

#: A start renews what ends within so many days (docs.k3s.io/cli/certificate); before May 2025 it was fewer.
RENEWED_DAYS, RENEWED_DAYS_BEFORE = 120, 90
#: A leaf is due when it ends within so many days: by then every release renews it, and there are weeks to try again.
DUE_DAYS = 60
#: minor version of Kubernetes 1 → the first patch with the longer time
_FIRST_PATCH = {30: 13, 31: 9, 32: 5, 33: 1}


def renewed_days(version: K3sVersion | None) -> int:
    """So many days before its end a leaf is renewed by a start; the shorter time for a version that is not known."""
    if version is None or version.minor < min(_FIRST_PATCH):
        return RENEWED_DAYS_BEFORE
    return RENEWED_DAYS if version.patch >= _FIRST_PATCH.get(version.minor, 0) else RENEWED_DAYS_BEFORE


def is_due(ends_at: datetime | None, now: datetime) -> bool:
    """Whether a site whose first leaf ends then should be restarted; never where nobody knows."""
    return ends_at is not None and ends_at - now <= timedelta(days=DUE_DAYS)
