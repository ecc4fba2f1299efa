"""The commands of a page with the output that it shows for them, in order: for pages that a test follows to the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|^(#+ [^\n]*)$", re.MULTILINE | re.DOTALL)
#: Alone on a line it stands for any lines, inside a line for any text.
ANYTHING = "…"


@dataclass
class Step:
    """One command of a page."""

    heading: str  #: of its section
    command: str
    shown: list[str] = field(default_factory=list)  #: lines of output; none: the page does not show it

    @property
    def fails(self) -> bool:
        """Whether the page shows an error, which ends with its code."""
        return any(line.startswith("code: ") for line in self.shown)


def page_steps(page: Path) -> list[Step]:
    """Every command in the console blocks of a page."""
    steps: list[Step] = []
    for heading, block in _blocks(page, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(heading, line[2:]))
            else:
                steps[-1].shown.append(line)
    return steps


def page_files(page: Path, kind: str) -> list[str]:
    """The text of every block of a kind, such as `yaml`."""
    return [block for _, block in _blocks(page, kind)]


def matches(shown: list[str], output: str) -> bool:
    """Whether output is what a page shows, apart from what the page leaves open and from the width of gaps."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else re.escape(_narrow(line)).replace(ANYTHING, ".*") + r"\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{_narrow(line)}\n" for line in output.splitlines())) is not None


def _narrow(line: str) -> str:
    """A line with every gap one blank wide: what is left open changes the width of columns."""
    return re.sub(" +", " ", line).rstrip()


def _blocks(page: Path, kind: str) -> Iterator[tuple[str, str]]:
    heading = ""
    for found, block, title in _BLOCK.findall(page.read_text()):
        if title:
            heading = title
        elif found == kind:
            yield heading, block
