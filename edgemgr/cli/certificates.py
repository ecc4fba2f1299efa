"""`edgemgr certificates`: have k3s renew its certificates before they end."""

from __future__ import annotations

from typing import Annotated

import typer

from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, ask_for
from edgemgr.cli.output import Output, OutputOption
from edgemgr.model.operation import OperationKind

app = typer.Typer(
    help="Certificates of clusters: renewed before they end.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    pass


@app.command("rotate")
def rotate(
    names: Names = None,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Make new keys for all of them, also where nothing is due.")
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
    """Have k3s renew the certificates that are due, on sites.

    k3s does that when it starts, for those that end within 120 days (releases before May 2025: 90). Where one is due
    k3s is restarted, which its containers do not notice, and the new dates are read back; elsewhere nothing is done.
    CAs are not renewed. Refused while an upgrade of the site has not ended.
    """
    ask_for(
        OperationKind.ROTATE_CERTIFICATES,
        {"new_keys": new_keys},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )
