"""Progress bars on stderr, only where somebody looks on; gone when the work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Called with the name of what is worked on, the bytes done so far, and its size (0 while that is not known).
Progress = Callable[[str, int, int], None]


@contextmanager
def byte_bars() -> Iterator[Progress]:
    """One bar for each name, with bytes and speed."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total or None)
            bars.update(tasks[name], completed=done, total=total or None)

        yield show


@contextmanager
def step_bar(total: int) -> Iterator[Callable[[str], None]]:
    """One bar for things that are done one after the other; the function is told the name of each as it begins."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task, begun = bars.add_task("", total=total), -1

        def show(name: str) -> None:
            nonlocal begun
            begun += 1
            bars.update(task, description=name, completed=begun)

        yield show
