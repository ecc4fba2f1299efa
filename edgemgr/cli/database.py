"""`edgemgr database`: the schema of the appliance's own database."""

from __future__ import annotations

import typer

app = typer.Typer(help="The appliance's own database.", no_args_is_help=True, rich_markup_mode=None)


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
