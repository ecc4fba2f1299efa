"""`edgemgr stage limit|window|rules`: how fast bytes may travel to sites, and at which hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.cli.size import read_size, size_text

if TYPE_CHECKING:
    from edgemgr.store.transfer_rule_item import RuleItem

ScopeArgument = Annotated[
    str,
    typer.Argument(metavar="SCOPE", help="What it holds for: all, label:KEY=VALUE, label:KEY or site:NAME."),
]
NONE = "none"


_COLUMNS: tuple[Column[RuleItem], ...] = (
    Column("scope", lambda row: row.scope),
    Column("limit", lambda row: None if row.limit_bytes_s is None else f"{size_text(row.limit_bytes_s)}/s"),
    Column("window", lambda row: row.window),
    Column("timezone", lambda row: row.timezone),
    Column("open", lambda row: row.open),
)


def register(app: typer.Typer) -> None:
    """Add the commands to `edgemgr stage`."""
    for command in (limit, window, rules):
        app.command(command.__name__)(command)


def limit(
    scope: ScopeArgument,
    rate: Annotated[str, typer.Argument(metavar="RATE", help="Bytes a second: 200K, 5M; or none.")],
) -> None:
    """Limit how many bytes a second stages send within a scope, all of its sites together.

    `label:vpn=lte-7 500K` holds for everything behind that one link; `label:vpn 500K` for each value of the label vpn
    by itself, and the limit of one value takes the place of that. All limits that concern a site hold together. They
    are counted by each worker process, and hold within seconds for what runs too.
    """
    from edgemgr.app import open_app
    from edgemgr.model.transfer_scope import TransferScope
    from edgemgr.settings import current_actor
    from edgemgr.store import transfer_rules

    wanted = TransferScope.parse(scope)
    bytes_s = None if rate == NONE else read_size(rate.removesuffix("/s"))
    with open_app() as appliance, appliance.database.write() as session:
        if bytes_s is None:
            transfer_rules.remove_limit(session, wanted, actor=current_actor())
        else:
            transfer_rules.put_limit(session, wanted, bytes_s, actor=current_actor())
    told = "no limit any more" if bytes_s is None else f"at most {size_text(bytes_s)}/s"
    typer.echo(f"{told}: {wanted}", err=True)


def window(
    scope: ScopeArgument,
    hours: Annotated[str, typer.Argument(metavar="HOURS", help='Such as "mon-fri 22:00-06:00"; or none.')],
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Whose hours they are, such as Europe/Berlin.")
    ] = "UTC",
) -> None:
    """Say at which hours of the week sites within a scope may be sent bytes. Outside of them a stage waits.

    A site's own window takes the place of those of its labels, and these take the place of that of all; of several
    labels all windows have to be open. What is used on a site, and when, is not decided here.
    """
    from edgemgr.app import open_app
    from edgemgr.model.transfer_scope import TransferScope
    from edgemgr.settings import current_actor
    from edgemgr.store import transfer_rules

    wanted = TransferScope.parse(scope)
    with open_app() as appliance, appliance.database.write() as session:
        if hours == NONE:
            transfer_rules.remove_window(session, wanted, actor=current_actor())
        else:
            transfer_rules.put_window(session, wanted, hours, timezone, actor=current_actor())
    told = "no window any more, always open" if hours == NONE else f"open {hours} ({timezone})"
    typer.echo(f"{told}: {wanted}", err=True)


def rules(output: OutputOption = Output.TABLE) -> None:
    """List the bandwidth limits and the transfer windows."""
    from edgemgr.app import open_app
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store.transfer_rule_item import rule_items

    with open_app() as appliance, appliance.database.read() as session:
        found = rule_items(session, utc_now())
    emit(found, _COLUMNS, output, kind="StageRuleList", name=lambda row: row.scope)
