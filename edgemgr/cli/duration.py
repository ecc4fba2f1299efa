"""Durations as people write and read them: 90s, 15m, 2h, 7d."""

from __future__ import annotations

import re

from edgemgr.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Read `90`, `90s`, `15m`, `2h` or `7d`.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no duration", hint="Write 90s, 15m, 2h or 7d.", code="E-USAGE-DURATION")
    return float(match[1]) * _UNITS[match[2] or "s"]


def length_text(duration_s: float) -> str:
    """A span of time in its two largest units: `40s`, `5m`, `1h 20m`, `3d 2h`."""
    whole = int(duration_s)
    units = [("d", whole // 86400), ("h", whole // 3600 % 24), ("m", whole // 60 % 60), ("s", whole % 60)]
    used = [f"{number}{letter}" for letter, number in units if number]
    return " ".join(used[:2]) or "0s"
