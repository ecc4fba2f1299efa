"""Durations as people write them: 90s, 15m, 2h, 7d."""

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
