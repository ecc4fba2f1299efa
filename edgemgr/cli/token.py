"""`edgemgr token`: a new server token for clusters."""

from __future__ import annotations

import typer

from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, Yes, ask_for
from edgemgr.cli.output import Output, OutputOption
from edgemgr.model.operation import OperationKind
from edgemgr.operations.token_step import TokenStep

app = typer.Typer(
    help="Server tokens of clusters: replaced by new ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

#: How long the request lives unless the operator says otherwise; the backups of its own would end sooner.
DEADLINE = "7d"
_CONFIRM = "token rotate restarts k3s, and the old token no longer lets machines join, at"


@app.callback()
def _group() -> None:
    pass


@app.command("rotate")
def rotate(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "60m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have k3s draw a new server token, on sites. Asks first.

    Agents and other machines that joined with the old token need the new one; every backup of before needs the old
    one, and holds it. Five operations for each site: a backup is taken and brought here; then k3s draws the token, is
    restarted, and gets the old one back if it does not come through; then a backup that holds the new one is taken and
    brought here. If the first backup fails, nothing is rotated. Containers go on. Nobody is told the token: it lies in
    server/token on the node.
    """
    ask_for(
        OperationKind.BACKUP,
        {"token": TokenStep.BEFORE.value},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline or DEADLINE,
        dry_run=dry_run,
        output=output,
        confirm=None if yes else _CONFIRM,
        called=OperationKind.ROTATE_TOKEN.value,
    )
