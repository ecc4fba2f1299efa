"""`edgemgr queue`: what runs and waits, limits on how much runs at once, and pausing sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli import queue_limit
from edgemgr.cli.ask import All, DryRun, Filter, Labels, Names
from edgemgr.cli.output import Output
from edgemgr.errors import UsageError

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.store.database import Session
    from edgemgr.store.pauses import Effect
    from edgemgr.store.queue_status import QueueStatus

app = typer.Typer(help="The queue: what runs and waits, limits, pauses.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(queue_limit.app, name="limit")

#: How often `status --watch` looks again, seconds.
WATCH_S = 2.0
#: Names that a dry run shows.
SHOWN_NAMES = 10


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every 2 s until Ctrl-C.")] = False,
    output: Annotated[
        Output, typer.Option("-o", "--output", help="Form of the output: table, json or yaml.")
    ] = Output.TABLE,
) -> None:
    """Show what runs, what waits and for what, and how fast it goes."""
    from edgemgr.app import open_app
    from edgemgr.cli.queue_screen import print_screen, watch_screen

    if output not in (Output.TABLE, Output.JSON, Output.YAML) or (watch and output is not Output.TABLE):
        raise UsageError(
            f"the status of the queue cannot be shown as {output.value}" + (" with --watch" if watch else ""),
            hint="Use table, json or yaml; --watch goes with table only.",
            code="E-USAGE-OUTPUT",
        )
    with open_app() as appliance:
        if watch:
            watch_screen(lambda: _look(appliance), every_s=WATCH_S)
        else:
            print_screen(_look(appliance), output)


def _look(appliance: App) -> QueueStatus:
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store.queue_status import queue_status

    with appliance.database.read() as session:
        return queue_status(session, max_running=appliance.settings.max_running, now=utc_now())


@app.command()
def pause(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever wonders later.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Begin nothing new at sites until they are resumed. What runs there goes on; what waits is kept.

    Paused sites are listed by `edgemgr site list --filter paused=yes -o wide`. Deadlines go on: what passes its
    deadline meanwhile expires.
    """
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import current_actor
    from edgemgr.store import pauses

    def change(session: Session, ids: list[int]) -> Effect:
        return pauses.pause(session, ids, reason=reason, actor=current_actor(), now=utc_now(), dry_run=dry_run)

    effect = _change((names, selector, filter_, every), change)
    _tell("pause", effect, f"{effect.waiting} operation(s) wait until then, {effect.running} run(s) on", dry_run)


@app.command()
def resume(
    names: Names = None, selector: Labels = None, filter_: Filter = None, every: All = False, dry_run: DryRun = False
) -> None:
    """Let sites go on that were paused. What waits there is served at once."""
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import current_actor
    from edgemgr.store import pauses

    def change(session: Session, ids: list[int]) -> Effect:
        return pauses.resume(session, ids, actor=current_actor(), now=utc_now(), dry_run=dry_run)

    effect = _change((names, selector, filter_, every), change)
    _tell("resume", effect, f"{effect.waiting} operation(s) go on", dry_run)


def _change(
    choice: tuple[list[str] | None, str | None, str | None, bool], change: Callable[[Session, list[int]], Effect]
) -> Effect:
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites

    with open_app() as appliance:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, *choice)]
        with appliance.database.write() as session:
            return change(session, ids)


def _tell(verb: str, effect: Effect, told: str, dry_run: bool) -> None:
    names = ", ".join(effect.sites[:SHOWN_NAMES])
    names += f" and {len(effect.sites) - SHOWN_NAMES} more" if len(effect.sites) > SHOWN_NAMES else ""
    head = f"would {verb}" if dry_run else f"{verb}d"
    text = f"{head} {len(effect.sites)} site(s)" + (f": {names}" if dry_run and names else "") + f"; {told}"
    if effect.unchanged:
        text += f"; {effect.unchanged} site(s) {'were paused already' if verb == 'pause' else 'were not paused'}"
    typer.echo(text, err=not dry_run)
