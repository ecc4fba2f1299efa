"""`edgemgr event list`: the audit trail, of sites and of the appliance itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.model.event import Reason

if TYPE_CHECKING:
    from edgemgr.model.event import Event

app = typer.Typer(help="What happened, and who did it.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS: tuple[Column[Event], ...] = (
    Column("id", lambda event: event.id),
    Column("age", lambda event: event.at),
    Column("type", lambda event: event.type),
    Column("reason", lambda event: event.reason),
    Column("site", lambda event: event.site_name),
    Column("operation", lambda event: event.operation_id, wide=True),
    Column("actor", lambda event: event.actor),
    Column("message", lambda event: event.message),
)
_FIELDS = ("id", "at", "type", "reason", "message", "actor", "site_name", "operation_id")


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only of this site, by its name then.")] = None,
    appliance: Annotated[
        bool, typer.Option("--appliance", help="Only of the appliance itself: bundles, trust, releases, limits.")
    ] = False,
    reason: Annotated[
        list[Reason] | None,
        typer.Option("--reason", metavar="REASON", help="Only of this reason: BundleRefused; may be repeated."),
    ] = None,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only what somebody should look at.")] = False,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this user did.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Since then: 2h, 7d, 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before then.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Go on before this ID: the last of a page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List events, the newest first. What several options ask for must all hold."""
    from edgemgr.app import open_app
    from edgemgr.cli.moment import past
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store import events

    now = utc_now()
    wanted = events.EventFilter(
        site=site,
        appliance_only=appliance,
        reasons=tuple(reason or ()),
        warnings_only=warnings,
        actor=actor,
        since=past(since, now),
        until=past(until, now),
        before_id=before,
    )
    with open_app() as app_, app_.database.read() as session:
        found = events.search(session, wanted, limit=limit)
    emit(found, COLUMNS, output, kind="EventList", name=lambda event: str(event.id), plain=_plain)


def _plain(event: Event) -> dict[str, Any]:
    return {field: getattr(event, field) for field in _FIELDS}
