"""The commands that a document shows, in their order."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def console_blocks(page: Path) -> list[list[str]]:
    """The commands of each console block, without prompt and comment."""
    return [
        [re.sub(r"\s+# .*", "", line[2:]) for line in block.splitlines() if line.startswith("$ ")]
        for block in _BLOCK.findall(page.read_text())
    ]
