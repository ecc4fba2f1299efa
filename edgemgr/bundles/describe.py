"""What people call a file of a bundle."""

from __future__ import annotations

from edgemgr.bundles.content import Target
from edgemgr.model.content import TargetKind


def label_of(target: Target) -> str:
    """Such as `k3s v1.34.6+k3s1 amd64` or an image's full name; the target's own name for all else."""
    custom = target.custom
    if custom.kind is TargetKind.K3S_BINARY:
        return f"k3s {custom.k3s_version} {custom.arch}"
    if custom.ref is not None:
        return f"{custom.ref} {custom.arch}"
    return target.name
