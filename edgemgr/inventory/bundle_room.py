"""Whether a bundle fits on the disk and into the quota, asked before anything of it is written."""

from __future__ import annotations

import shutil

from edgemgr.bundles import faults
from edgemgr.bundles.content import Content
from edgemgr.errors import BundleError
from edgemgr.inventory.bundle_releases import held_releases
from edgemgr.inventory.content_store import ContentStore, directory_bytes
from edgemgr.model.content import TargetKind
from edgemgr.model.disk_need import DiskNeed
from edgemgr.settings import Settings

_MIB = 1 << 20


def check_room(settings: Settings, content: Content, *, copy_bytes: int) -> None:
    """See that everything fits that this bundle will write, beside a copy of which `copy_bytes` are still to come.

    Raises:
        BundleError: it does not fit on the disk (E-B060), or into the quota (E-BUNDLE-QUOTA).
    """
    _check(settings, need_of(content, ContentStore(settings.release_dir), copy_bytes=copy_bytes))


def check_upload_room(settings: Settings, size_bytes: int, *, promised_bytes: int) -> None:
    """See that a file of this size may be uploaded; what is in it is not known yet.

    Args:
        settings: quota and limits.
        size_bytes: of the file.
        promised_bytes: what other uploads have still to bring.

    Raises:
        BundleError: it is too large or does not fit on the disk (E-B060), or into the quota (E-BUNDLE-QUOTA).
    """
    most = settings.bundle_max_mib * _MIB
    if size_bytes > most:
        raise faults.too_large(size_bytes, most)
    _check(settings, DiskNeed(copy_bytes=size_bytes + promised_bytes))


def need_of(content: Content, store: ContentStore, *, copy_bytes: int) -> DiskNeed:
    """What a bundle will write. An image archive holds each layer once, so one for each version is the most."""
    missing = sum(size for digest, size in content.blobs.items() if not store.has(digest, size))
    layers = {
        target.digest: target.size_bytes
        for target in content.targets.values()
        if target.custom.kind in (TargetKind.IMAGE, TargetKind.IMAGE_BLOB)
    }
    archives = sum(layers.values()) if held_releases(content) else 0
    return DiskNeed(copy_bytes=copy_bytes, blob_bytes=missing, archive_bytes=archives)


def _check(settings: Settings, need: DiskNeed) -> None:
    free = shutil.disk_usage(settings.state_dir).free
    if not need.fits_disk(free):
        raise faults.no_room(need.total_bytes, free, str(settings.state_dir))
    quota = settings.bundle_quota_mib * _MIB
    used = directory_bytes(settings.release_dir) + directory_bytes(settings.incoming_dir)
    if not need.fits_quota(used, quota):
        raise BundleError(
            f"Needs {need.total_bytes / _MIB:.1f} MiB; {max(quota - used, 0) / _MIB:.1f} MiB are left of the quota of "
            f"{settings.bundle_quota_mib} MiB. Nothing was imported.",
            hint="Remove a bundle with `edgemgr bundle remove`, or set bundle_quota_mib higher.",
            code="E-BUNDLE-QUOTA",
        )
