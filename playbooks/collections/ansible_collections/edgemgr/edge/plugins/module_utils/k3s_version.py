"""k3s versions such as v1.33.5+k3s1: read, ordered, compared."""

from __future__ import annotations

import re
from typing import NamedTuple

_PATTERN = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)", re.ASCII)
_FINAL = 10**9  # a final release comes after all of its candidates


class K3sVersion(NamedTuple):
    """The parts in the order in which they decide."""

    major: int
    minor: int
    patch: int
    candidate: int
    build: int


def parse(text: str) -> K3sVersion | None:
    """Read a version; None when the text is none."""
    found = _PATTERN.fullmatch(text)
    if not found:
        return None
    major, minor, patch, candidate, build = found.groups()
    return K3sVersion(int(major), int(minor), int(patch), _FINAL if candidate is None else int(candidate), int(build))


def knows_strict_registries(version: K3sVersion) -> bool:
    """Whether `disable-default-registry-endpoint` exists: releases since January 2024 (k3s docs, private registry)."""
    first_patch = {26: 13, 27: 10, 28: 6, 29: 1}
    if version.minor > max(first_patch):
        return True
    return version.minor in first_patch and version.patch >= first_patch[version.minor]
