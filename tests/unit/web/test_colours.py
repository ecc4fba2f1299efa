"""Text stays readable in both themes: WCAG 2.2, success criterion 1.4.3."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgemgr.web

CSS = (Path(edgemgr.web.__file__).parent / "static" / "console.css").read_text()
COLOURS = {name: pair for name, *pair in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)}
PAIRS = [
    *((text, ground) for text in ("text", "quiet", "link") for ground in ("page", "surface", "raised", "none-fill")),
    *(
        (tone, ground)
        for tone in ("good", "warn", "bad", "busy", "none")
        for ground in (f"{tone}-fill", "surface", "raised")
    ),
    *(("text", f"{tone}-fill") for tone in ("good", "warn", "bad", "busy")),
]


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_stands_out_from_its_ground(text: str, ground: str, theme: int) -> None:
    lighter, darker = sorted((luminance(COLOURS[name][theme]) for name in (text, ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
