"""`edgemgr group`: selectors with a name; a group may allow trust on first use, until a date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import UsageError

if TYPE_CHECKING:
    from edgemgr.model.site import Group

app = typer.Typer(help="Groups: selectors with a name.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS: tuple[Column[Group], ...] = (
    Column("name", lambda group: group.name),
    Column("selector", lambda group: group.selector),
    Column(
        "trusts first use until",
        lambda group: f"{group.trust_first_use_until:%Y-%m-%dT%H:%MZ}" if group.trust_first_use_until else None,
    ),
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the group.")],
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="Labels: region=emea,tier!=lab.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="Labels and fields.")] = None,
    trust_first_use_until: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD", help="Until the end of this day (UTC), pin the first host key that answers."
        ),
    ] = None,
) -> None:
    """Save a selector. Sites belong to the group for as long as it matches them: `site list --filter group=NAME`.

    Trust on first use believes whoever answers first at a site's address. Use it where nobody can stand in between,
    and for days, not months. A password is never sent to a host that was trusted in this way.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.group_rules import check_name, first_use_until, saved_selector
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import current_actor
    from edgemgr.store import groups

    check_name(name)
    text = saved_selector(selector, filter_)
    if not text:
        raise UsageError("a group needs a selector", hint="Add for example -l region=emea.", code="E-GROUP-EMPTY")
    until = first_use_until(trust_first_use_until, utc_now()) if trust_first_use_until else None
    with open_app() as appliance, appliance.database.write() as session:
        groups.create(session, name, text, trust_first_use_until=until, actor=current_actor())
    typer.echo(f"group {name} created", err=True)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List groups."""
    from edgemgr.app import open_app
    from edgemgr.store import groups

    with open_app() as appliance, appliance.database.read() as session:
        rows = groups.every(session)
    emit(
        rows, _COLUMNS, output, kind="GroupList", name=lambda group: group.name, plain=lambda group: group.model_dump()
    )


@app.command()
def delete(name: Annotated[str, typer.Argument(help="Name of the group.")]) -> None:
    """Forget a group; its sites stay as they are."""
    from edgemgr.app import open_app
    from edgemgr.settings import current_actor
    from edgemgr.store import groups

    with open_app() as appliance, appliance.database.write() as session:
        groups.remove(session, name, actor=current_actor())
    typer.echo(f"group {name} deleted", err=True)
