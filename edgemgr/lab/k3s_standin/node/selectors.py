"""Label and field selectors of the API."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_PAIR = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*(.*)$")


class SelectorError(ValueError):
    """A selector that cannot be read."""


def labels_match(selector: str, labels: dict[str, str]) -> bool:
    """Whether the labels satisfy all requirements: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`.

    Raises:
        SelectorError: a requirement is none of these.
    """
    return all(_label(part.strip(), labels) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _label(requirement: str, labels: dict[str, str]) -> bool:
    if match := _SET.match(requirement):
        values = {value.strip() for value in match.group(3).split(",")}
        return (labels.get(match.group(1)) in values) == (match.group(2) == "in")
    if match := _PAIR.match(requirement):
        return (labels.get(match.group(1)) == match.group(3)) == (match.group(2) != "!=")
    if re.fullmatch(r"!?[A-Za-z0-9./_-]+", requirement):
        return (requirement.lstrip("!") in labels) != requirement.startswith("!")
    raise SelectorError(f"unable to parse requirement: {requirement}")


def fields_match(selector: str, value: dict[str, Any]) -> bool:
    """Whether the fields, such as `metadata.name` or `status.phase`, have the values wanted.

    Raises:
        SelectorError: a requirement is not `field=value` or `field!=value`.
    """
    for part in filter(None, (part.strip() for part in selector.split(","))):
        match = _PAIR.match(part)
        if match is None:
            raise SelectorError(f"invalid selector: {part}")
        found: Any = value
        for key in match.group(1).split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if (str(found or "") == match.group(3)) == (match.group(2) == "!="):
            return False
    return True
