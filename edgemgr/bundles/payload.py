"""Payload: one file that is to go into a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgemgr.model.content import TargetCustom


@dataclass(frozen=True)
class Payload:
    """A file on disk under the name that it shall have among the signed targets.

    Several may share one digest; the bundle carries their bytes once.
    """

    name: str
    digest: str  #: SHA-256, 64 hexadecimal digits
    size_bytes: int
    custom: TargetCustom
    path: Path  #: holds exactly these bytes, and does so until the bundle is written
