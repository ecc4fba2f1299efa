"""`edgemgr database`: the schema of the appliance's own database."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Annotated

import typer

from edgemgr.cli.output import Output, OutputOption, print_object
from edgemgr.errors import UsageError

app = typer.Typer(help="The appliance's own database.", no_args_is_help=True, rich_markup_mode=None)


#: After each small transaction as long a pause as it took, but not longer, seconds: other writers get their turn.
YIELD_S = 0.05


@app.callback()
def _group() -> None:
    pass


@app.command("upgrade")
def upgrade() -> None:
    """Bring the tables to this version. Every command does so by itself; this one does nothing else."""
    from edgemgr.app import open_app
    from edgemgr.store import schema

    with open_app() as app:
        typer.echo(f"schema {schema.current_revision(app.database)}: {app.database.url.render_as_string()}")


@app.command("renumber")
def renumber() -> None:
    """Run this once after restoring a backup of the database: sites refuse attempt numbers that they have seen."""
    from edgemgr.app import open_app
    from edgemgr.store import schema

    with open_app() as app, app.database.write() as session:
        typer.echo(f"the next attempt is number {schema.renumber_attempts(session.connection())}")


@app.command("prune")
def prune(
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="30d; the setting history_days by default.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove old history now, as the queue does by itself, while everything goes on working.

    Of each site and kind the newest operations stay (history_per_site), the newest one whatever its age, and all that
    is open. Logs go along, those on this machine. The room becomes free for new rows: an SQLite file does not shrink.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.duration import seconds
    from edgemgr.model.timestamp import utc_now
    from edgemgr.queue import log_sweep, retention
    from edgemgr.settings import current_actor
    from edgemgr.store.retention import Kept, count_sites

    if output not in (Output.TABLE, Output.JSON):
        raise UsageError(f"the outcome cannot be shown as {output}", hint="Use -o json.", code="E-USAGE")
    with open_app() as app:
        age = (
            timedelta(days=app.settings.history_days) if older_than is None else timedelta(seconds=seconds(older_than))
        )
        kept = Kept(app.settings.history_per_site, utc_now() - age)
        with app.database.read() as session:
            sites = count_sites(session)
        pruned = retention.Pruned()
        with typer.progressbar(length=sites, label="sites", file=sys.stderr) as bar:
            begun = time.monotonic()
            for step in (retention.plan if dry_run else retention.prune)(app.database, kept):
                pruned += step
                bar.update(step.sites)
                time.sleep(min(time.monotonic() - begun, YIELD_S) if step.rows and not dry_run else 0)
                begun = time.monotonic()
        logs = 0 if dry_run else sum(log_sweep.sweep(app.database, app.settings.log_dir))
        if pruned.rows and not dry_run:
            retention.tell(app.database, pruned, actor=current_actor())
    counts = {"operations": pruned.operations, "events": pruned.events, "logs": logs}
    if output is Output.JSON:
        print_object({**counts, "dryRun": dry_run}, kind="Pruning")
    elif dry_run:
        typer.echo(f"would remove {pruned.operations} operations and {pruned.events} events, and their logs")
    else:
        typer.echo(f"removed {pruned.operations} operations, {pruned.events} events and {logs} logs")
