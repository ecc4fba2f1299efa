"""`edgemgr queue limit`: how many operations may run at once, in the whole appliance or in a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit

if TYPE_CHECKING:
    from edgemgr.store.queue_status import LimitRow

app = typer.Typer(help="Limits on how much runs at once.", no_args_is_help=True, rich_markup_mode=None)

ScopeArgument = Annotated[
    str,
    typer.Argument(metavar="SCOPE", help="What it counts: all, kind:KIND, label:KEY=VALUE or label:KEY."),
]

_COLUMNS: tuple[Column[LimitRow], ...] = (
    Column("scope", lambda row: row.scope),
    Column("most", lambda row: row.most),
    Column("running", lambda row: row.running),
)


@app.command("set")
def set_(
    scope: ScopeArgument,
    most: Annotated[int, typer.Argument(metavar="N", help="So many operations run at once there, at most.")],
) -> None:
    """Let at most N operations run at once within a scope.

    `label:vpn=lte-7 3` lets three run at once behind that one link; `label:vpn 3` does so for each value of the label
    vpn by itself, and a limit of one value takes the place of that. `kind:bootstrap 50` counts a kind of operation,
    `all 100` the whole appliance in place of the setting max_running. An operation begins when every limit that
    counts it has room. What runs already goes on.
    """
    from edgemgr.app import open_app
    from edgemgr.model.scope import Scope, ScopePart
    from edgemgr.settings import current_actor
    from edgemgr.store import limits

    wanted = Scope.parse(scope)
    with open_app() as appliance, appliance.database.write() as session:
        limits.put(session, wanted, most, actor=current_actor())
        near = limits.near_label_keys(session, wanted.key) if wanted.part is ScopePart.LABEL else None
    typer.echo(f"at most {most} at once: {wanted}", err=True)
    if near is not None:
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        typer.echo(f"note: no site has the label {wanted.key} today{meant}", err=True)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the limits with what runs within each now. A label's limit counts its busiest value."""
    from edgemgr.app import open_app
    from edgemgr.store.queue_status import limit_rows

    with open_app() as appliance, appliance.database.read() as session:
        rows = limit_rows(session, max_running=appliance.settings.max_running)
    emit(rows, _COLUMNS, output, kind="LimitList", name=lambda row: row.scope)


@app.command()
def remove(scope: ScopeArgument) -> None:
    """Take a limit away."""
    from edgemgr.app import open_app
    from edgemgr.model.scope import Scope
    from edgemgr.settings import current_actor
    from edgemgr.store import limits

    wanted = Scope.parse(scope)
    with open_app() as appliance, appliance.database.write() as session:
        limits.remove(session, wanted, actor=current_actor())
    typer.echo(f"no limit any more: {wanted}", err=True)
