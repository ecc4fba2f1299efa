"""Whether there is room for a bundle, asked before the first byte is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgemgr.bundles import faults
from edgemgr.bundles.names import CAPS


def check_space(directory: Path, needed_bytes: int, *, quota_bytes: int | None = None, used_bytes: int = 0) -> None:
    """See that so many bytes fit on the disk and within the quota.

    Args:
        directory: exists, on the file system that is to hold them.
        needed_bytes: what is to be written.
        quota_bytes: what bundles may take in all; None: only the disk counts.
        used_bytes: what of the quota is taken.

    Raises:
        BundleError: they do not (E-B060).
    """
    if needed_bytes > CAPS.bundle:
        raise faults.too_large(needed_bytes, CAPS.bundle)
    free = shutil.disk_usage(directory).free
    if quota_bytes is not None:
        free = min(free, max(quota_bytes - used_bytes, 0))
    if needed_bytes > free:
        raise faults.no_room(needed_bytes, free, str(directory))
