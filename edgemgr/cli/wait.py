"""`--wait`: live progress of one request; on a terminal a picture, elsewhere a line whenever something changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgemgr.store import history
from edgemgr.store.database import Database
from edgemgr.store.history import Progress

POLL_S = 0.5
EXIT_SOME_FAILED = 6
EXIT_SOME_OWED = 7

_STATES = (
    ("succeeded", "green"),
    ("running", "blue"),
    ("queued", "yellow"),
    ("failed", "red"),
    ("expired", "red"),
    ("canceled", "dim"),
)
_WAITING = {
    "turn": "for their turn",
    "contact": "for contact",
    "backoff": "before the next try",
    "resume": "for `edgemgr queue resume`",
}


@dataclass
class Clock:
    """Time since the wait began and how fast it goes; the clock can be passed in."""

    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.started = self.now()

    def elapsed(self) -> float:
        """Seconds since the wait began."""
        return self.now() - self.started

    def rate(self, done: int) -> float:
        """Sites per minute."""
        return done / max(self.elapsed(), 1e-9) * 60


def wait_for(database: Database, request: str, *, kind: str, timeout_s: float) -> int:
    """Show how a request gets on until it has ended or the time is up; returns the exit status."""
    clock = Clock()
    console = Console(stderr=True)
    found = _look(database, request)
    if not _anybody_works(database):
        typer.echo("no worker runs: start `edgemgr serve` (or `edgemgr worker`) in another terminal", err=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while found.open and clock.elapsed() < timeout_s:
                live.update(picture(kind, found, clock))
                time.sleep(POLL_S)
                found = _look(database, request)
    else:
        told = ""
        while found.open and clock.elapsed() < timeout_s:
            if (text := line(kind, found)) != told:
                typer.echo(f"{clock.elapsed():6.1f}s  {text}", err=True)
                told = text
            time.sleep(POLL_S)
            found = _look(database, request)
    typer.echo(f"{line(kind, found)} in {clock.elapsed():.1f} s", err=True)
    for name, code, message, hint in found.failed_examples:
        typer.echo(f"  {name}: {message} [{code}]" + (f"\n    hint: {hint}" if hint else ""), err=True)
    return exit_status(found)


def exit_status(found: Progress) -> int:
    """0 all succeeded, 6 some failed, 7 some are still owed."""
    if found.open == 0 and found.succeeded == found.total:
        return 0
    if found.total - found.open - found.succeeded:
        return EXIT_SOME_FAILED
    return EXIT_SOME_OWED


def line(kind: str, found: Progress) -> str:
    """One line: counts by state, and what is being waited for."""
    parts = [f"{found.counts[state]} {state}" for state, _ in _STATES if found.counts.get(state)]
    waiting = [f"{number} {_WAITING.get(what, what)}" for what, number in sorted(found.waiting.items())]
    who = [f"{name} ({why})" if why else name for name, what, why in found.waiting_examples if what == "contact"]
    text = f"{kind}: {found.succeeded}/{found.total}  " + ", ".join(parts)
    if waiting:
        text += "; waiting: " + ", ".join(waiting)
    if who:
        text += ": " + "; ".join(who)
    return text


def picture(kind: str, found: Progress, clock: Clock) -> RenderableType:
    """A bar, the counts in colour, the rate, and the sites that hold things up with the reason."""
    done = found.total - found.open
    head = Table.grid(padding=(0, 1))
    speed = f"{clock.rate(done):.1f} sites/min" if done else "no site done yet"
    head.add_row(
        Text(kind, style="bold"),
        ProgressBar(total=max(found.total, 1), completed=done, width=32),
        Text(f"{done}/{found.total}"),
        Text(f"{clock.elapsed():.0f} s, {speed}", style="dim"),
    )
    counts = Text("  ")
    for state, style in _STATES:
        if number := found.counts.get(state):
            counts.append(f"{number} {state}   ", style=style)
    rows: list[RenderableType] = [head, counts]
    for name, what, why in found.waiting_examples:
        rows.append(Text(f"  {name} waits {_WAITING.get(what, what)}: {why}", style="yellow", overflow="ellipsis"))
    for name, code, message, _ in found.failed_examples:
        rows.append(Text(f"  {name} failed: {message} [{code}]", style="red", overflow="ellipsis"))
    return Group(*rows)


def _look(database: Database, request: str) -> Progress:
    with database.read() as session:
        return history.progress(session, request)


def _anybody_works(database: Database) -> bool:
    from edgemgr.queue.identity import living

    with database.read() as session:
        return bool(living(session))
