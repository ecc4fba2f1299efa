"""The rules of labels, as Kubernetes has them, so that a Site's labels can become a Node's.

Source: kubernetes.io, "Labels and Selectors", syntax and character set. One difference: a value is never empty,
because in a table an empty cell says that there is no such label.
"""

from __future__ import annotations

import re

NAME_LIMIT = 63
PREFIX_LIMIT = 253

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)


def key_fault(key: str) -> str | None:
    """Say what is wrong with a label's key; None when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > PREFIX_LIMIT or _PREFIX.fullmatch(prefix) is None):
        return f"the part before the slash is no DNS name of at most {PREFIX_LIMIT} characters"
    if _NAME.fullmatch(name) is None:
        return f"its name is not 1 to {NAME_LIMIT} letters, digits, '-', '_', '.', with a letter or digit at both ends"
    return None


def value_fault(value: str) -> str | None:
    """Say what is wrong with a label's value; None when nothing is."""
    if _NAME.fullmatch(value) is None:
        return f"it is not 1 to {NAME_LIMIT} letters, digits, '-', '_', '.', with a letter or digit at both ends"
    return None
