"""docs/errors.md: every code once, with a sentence on what it means and one on what to do next."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROWS = [
    line
    for line in (Path(__file__).parent.parent / "docs/errors.md").read_text().splitlines()
    if line.startswith("| `E-")
]


def test_every_code_has_its_meaning_and_the_next_step() -> None:
    sentence = r"[^ |][^|]+[.?]"
    odd = [row for row in ROWS if not re.fullmatch(rf"\| `E-[A-Z0-9-]+` \| {sentence} \| {sentence} \|", row)]
    assert odd == []


def test_every_code_is_explained_in_one_place() -> None:
    codes = Counter(row.split("`")[1] for row in ROWS)
    assert [code for code, times in codes.items() if times > 1] == []
    assert len(codes) > 100
