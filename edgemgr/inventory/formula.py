"""Spreadsheets run a cell that begins like a formula. Such cells leave with an apostrophe and come back without.

Source: OWASP, "CSV Injection". Plain numbers such as -33.86 are left alone: they compute nothing.
"""

from __future__ import annotations

import re

_DANGEROUS = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def defuse(cell: str) -> str:
    """Make a cell harmless in a spreadsheet."""
    if _DANGEROUS.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def restore(cell: str) -> str:
    """Undo `defuse`."""
    if cell.startswith("'") and _DANGEROUS.match(cell):
        return cell[1:]
    return cell
