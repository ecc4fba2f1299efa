"""Which k3s can give itself a new server token. A pure rule; the collection has the same for the node."""

from __future__ import annotations

from edgemgr.model.version import K3sVersion

#: `k3s token rotate` came with the releases of October 2023: minor version of Kubernetes 1 → the first patch.
_FIRST_PATCH = {25: 15, 26: 10, 27: 7, 28: 3}


def can_rotate(version: K3sVersion) -> bool:
    """Whether this one can."""
    return version.minor >= min(_FIRST_PATCH) and version.patch >= _FIRST_PATCH.get(version.minor, 0)
