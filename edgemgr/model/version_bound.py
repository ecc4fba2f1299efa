"""VersionBound: a k3s version, whole or only its first parts, to compare others with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgemgr.model.version import K3sVersion

_PARTS = re.compile(r"v?(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True)
class VersionBound:
    """`v1.33` stands for everything that begins so: v1.33.0+k3s1 equals it, v1.32.9+k3s1 is below it."""

    parts: tuple[int, ...]
    whole: K3sVersion | None = None  #: set when the version was written in full

    @classmethod
    def parse(cls, text: str) -> VersionBound | None:
        """Read `v1`, `v1.33`, `1.33.5` or `v1.33.5+k3s1`; None for anything else."""
        match = _PARTS.fullmatch(text)
        if match is not None:
            return cls(tuple(int(part) for part in match.groups() if part is not None))
        whole = K3sVersion.find(text)
        return None if whole is None or str(whole) != text else cls((), whole)

    def compare(self, version: K3sVersion) -> int:
        """-1, 0 or 1: whether a version is below, within or above this one."""
        if self.whole is not None:
            return (version > self.whole) - (version < self.whole)
        beginning = (version.major, version.minor, version.patch)[: len(self.parts)]
        return (beginning > self.parts) - (beginning < self.parts)


def is_within(version: K3sVersion, bounds: Iterable[str]) -> bool:
    """Whether a version lies within one of these bounds; what is no bound holds nothing."""
    parsed = (VersionBound.parse(text) for text in bounds)
    return any(bound is not None and bound.compare(version) == 0 for bound in parsed)
