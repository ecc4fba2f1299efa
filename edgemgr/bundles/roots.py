"""RootInfo: which root stands behind a bundle, for people and for lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Purpose(StrEnum):
    """What the keys of a root are for."""

    RELEASE = "release"
    DEVELOPMENT = "development"


@dataclass(frozen=True)
class RootInfo:
    """One version of the root metadata of one line of keys."""

    name: str  #: such as `vendor` or `site-owner`
    purpose: Purpose
    version: int
    fingerprint: str  #: `SHA256:` and 64 hexadecimal digits: over the canonical signed part of this very version
    key_ids: tuple[str, ...]  #: of the root role, sorted
    release_key_ids: tuple[str, ...]  #: of the keys that sign bundles, sorted
    threshold: int  #: how many of `key_ids` must sign a new root
    expires_at: datetime
