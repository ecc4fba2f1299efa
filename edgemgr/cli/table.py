"""Plain tables: no boxes, no colours; cut to the terminal's width where there is one, never when piped."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence

GAP = "  "
NARROWEST = 8

# What a site reports may hold anything; a terminal must not act upon it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def clean(text: str) -> str:
    """Take out what a terminal would act upon."""
    return _CONTROL.sub(" ", text)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their titles on stdout."""
    from rich.cells import cell_len, set_cell_size

    lines = [[title.upper() for title in titles], *([clean(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(titles))]
    if sys.stdout.isatty():
        widths = fit(widths, shutil.get_terminal_size().columns)
    for line in lines:
        cells = []
        for text, width in zip(line, widths, strict=True):
            shown = text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
            cells.append(set_cell_size(shown, width))
        sys.stdout.write(GAP.join(cells).rstrip() + "\n")


def fit(widths: Sequence[int], available: int) -> list[int]:
    """Take from the widest columns until the line fits, but leave every column readable."""
    fitted = list(widths)
    spare = available - len(GAP) * (len(widths) - 1)
    while sum(fitted) > spare and max(fitted) > NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted
