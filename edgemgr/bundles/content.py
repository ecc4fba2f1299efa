"""Content: what the verified metadata of a bundle says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edgemgr.bundles.roots import RootInfo
from edgemgr.model.content import ReleaseRecord, TargetCustom


@dataclass(frozen=True)
class Target:
    """One signed file of a bundle."""

    name: str
    digest: str  #: SHA-256, 64 hexadecimal digits
    size_bytes: int
    custom: TargetCustom


@dataclass(frozen=True)
class Content:
    """What a bundle holds, after its metadata was verified."""

    release: ReleaseRecord
    targets: Mapping[str, Target]  #: by name, sorted
    blobs: Mapping[str, int]  #: digest → size in bytes, sorted by digest: the order in the file
    root: RootInfo  #: the newest root, trusted now or carried by the bundle
    key_ids: tuple[str, ...]  #: of the release keys whose signatures were verified
    expires_at: datetime
    expired: bool  #: an administrator chose to take it although it has expired

    @property
    def payload_bytes(self) -> int:
        """The size of all blobs together."""
        return sum(self.blobs.values())
