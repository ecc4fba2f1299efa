"""The SHA-256 of a file as text: 64 hexadecimal digits in lower case, the one form in which it is kept and compared."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

_FORM = r"[0-9a-f]{64}"
_DIGEST = re.compile(_FORM, re.ASCII)

Digest = Annotated[str, StringConstraints(pattern=f"^{_FORM}$")]


def is_digest(text: str) -> bool:
    """Whether a text is one."""
    return _DIGEST.fullmatch(text) is not None
