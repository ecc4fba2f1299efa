"""Pictures of the page: SVG whose text stays text, without a date, so that the same numbers give the same file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GREY, BLUE, ORANGE, INK, FAINT = "#9aa3ad", "#1f6feb", "#d9730d", "#24292f", "#e4e7eb"


@contextmanager
def picture(path: Path, columns: int, size: tuple[float, float], *, share_names: bool = False) -> Iterator[list[Any]]:
    """Axes side by side, with the page's style; written when the block ends."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "edgemgr",
            "font.size": 9,
            "font.family": "sans-serif",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": GREY,
            "axes.titlesize": 9,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    figure, axes = plt.subplots(1, columns, sharey=share_names, figsize=size, layout="constrained", squeeze=False)
    yield list(axes[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def bars(axis: Any, names: Sequence[str], values: Sequence[float], form: str, is_ours: Sequence[bool]) -> None:
    """Horizontal bars with their values, the first one on top."""
    colours = [BLUE if ours else GREY for ours in is_ours]
    drawn = axis.barh(list(names)[::-1], list(values)[::-1], color=colours[::-1], height=0.62)
    axis.bar_label(drawn, [form.format(value) for value in list(values)[::-1]], padding=3, color=INK)
    axis.set_xlim(0, max(values) * 1.28)
    axis.set_xticks([])
    axis.tick_params(left=False)
    axis.spines[:].set_visible(False)


def paired_bars(axis: Any, title: str, names: Sequence[str], pair: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Upright bars side by side, two for each name, with their values; a label and its values for each of the pair."""
    for number, ((label, values), colour) in enumerate(zip(pair, (BLUE, GREY), strict=True)):
        places = [place + number * 0.38 - 0.19 for place in range(len(names))]
        drawn = axis.bar(places, values, width=0.36, color=colour, label=label)
        axis.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=2, color=INK)
    axis.set_xticks(range(len(names)), names)
    axis.set_title(title)
    axis.set_yticks([])
    axis.margins(y=0.15)
    axis.tick_params(bottom=False)
    axis.spines[:].set_visible(False)
    axis.legend(frameon=False, loc="upper left", ncols=2)


def plain(axis: Any, *, x: str, y: str) -> None:
    """Axes for curves: names, a light grid, no frame."""
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
