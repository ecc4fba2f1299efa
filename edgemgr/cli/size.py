"""Sizes as people write and read them: 3900M, 1.8 GiB."""

from __future__ import annotations

import re

from edgemgr.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_size(text: str) -> int:
    """Read `4096`, `700K`, `3900M`, `3900MiB` or `2G`, in bytes; units are powers of 1024.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d{1,15})([KMG]?)(?:i?B)?", text.strip(), re.ASCII)
    if match is None or not int(match[1]):
        raise UsageError(f"{text!r} is no size", hint="Write 3900M or 2G.", code="E-USAGE-SIZE")
    return int(match[1]) * _UNITS[match[2]]


def size_text(size_bytes: int) -> str:
    """`512 B`, `3.1 KiB`, `140.2 MiB`, `1.8 GiB`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"
