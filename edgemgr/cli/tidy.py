"""`edgemgr tidy`: remove what old versions of k3s have left on nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, ask_for
from edgemgr.cli.output import Output, OutputOption
from edgemgr.model.operation import OperationKind


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("tidy")(tidy)


def tidy(
    names: Names = None,
    vacuum: Annotated[
        bool,
        typer.Option("--vacuum", help="Make datastores smaller too; k3s is stopped for it where that is worth it."),
    ] = False,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove what old versions of k3s have left on sites.

    Programs of versions other than the running one and the one before it, as far as nothing runs from them any more.
    With --vacuum a SQLite datastore gives back the room that it does not use, if that is a fifth of it and 16 MiB at
    least. Containers go on. Refused while an upgrade of the site has not ended.
    """
    ask_for(
        OperationKind.TIDY,
        {"vacuum": vacuum},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )
