"""What a site sent, made harmless: bounded, printable text and plain JSON of bounded size.

A site may be broken or in foreign hands. Its text reaches terminals, logs and PostgreSQL, which take no control
characters, no NUL and no halves of UTF-16 pairs.
"""

from __future__ import annotations

import json
import math
import re

TEXT_MAX_BYTES = 64 * 1024
JSON_MAX_BYTES = 256 * 1024
_DEPTH_MAX = 16
_CUT = " [cut]"
# C0 without tab and line feed, DEL and C1: a terminal acts on them. Surrogates cannot be encoded. The bidirectional
# overrides make a line read as another.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def text(value: object, max_bytes: int = TEXT_MAX_BYTES) -> str:
    """The value as text, without what a terminal would act upon; empty for what is no text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    cut = str(value)[:max_bytes]
    cleaned = _CONTROL.sub("\ufffd", cut.replace("\r\n", "\n"))
    encoded = cleaned.encode()
    if len(encoded) <= max_bytes and len(cut) == len(str(value)):
        return cleaned
    return encoded[: max_bytes - len(_CUT)].decode(errors="ignore") + _CUT


def plain(value: object, max_bytes: int = JSON_MAX_BYTES) -> object:
    """The value with every text cleaned; None where it is larger or deeper than allowed."""
    try:
        cleaned = _clean(value, _DEPTH_MAX)
    except ValueError:
        return None
    return cleaned if len(json.dumps(cleaned, ensure_ascii=False).encode()) <= max_bytes else None


def _clean(value: object, depth: int) -> object:
    if depth == 0:
        raise ValueError("too deep")
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return text(value)
        case list():
            return [_clean(item, depth - 1) for item in value]
        case dict():
            return {text(key, 256): _clean(item, depth - 1) for key, item in value.items()}
        case _:
            raise ValueError("no JSON")
