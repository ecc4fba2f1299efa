"""`edgemgr operation list`: any question about what was asked of sites, however long the history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OPEN_STATES, OperationKind, OperationState, WaitingFor

if TYPE_CHECKING:
    from edgemgr.model.selector import Selector
    from edgemgr.store.database import Session
    from edgemgr.store.operation_item import OperationItem

COLUMNS: tuple[Column[OperationItem], ...] = (
    Column("id", lambda item: item.id),
    Column("site", lambda item: item.site),
    Column("kind", lambda item: item.kind),
    Column("state", lambda item: item.state),
    Column("waiting for", lambda item: item.waiting_for),
    Column("attempts", lambda item: item.attempts),
    Column("age", lambda item: item.created_at),
    Column("ended", lambda item: item.finished_at),
    Column("request", lambda item: item.request, wide=True),
    Column("by", lambda item: item.actor, wide=True),
    Column("code", lambda item: item.code, wide=True),
    Column("message", lambda item: item.message),
)


def register(app: typer.Typer) -> None:
    """Add `list` to `edgemgr operation`."""
    app.command("list")(list_)


def list_(
    names: Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Only of these sites.")] = None,
    *,
    selector: Annotated[
        str | None, typer.Option("-l", "--selector", help="Only of sites with these labels: region=emea,tier!=lab.")
    ] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="Only of sites that these fields choose: health=failing.")
    ] = None,
    state: Annotated[
        list[OperationState] | None, typer.Option("--state", help="Only in this state; may be repeated.")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only what has not ended.")] = False,
    kind: Annotated[
        list[OperationKind] | None,
        typer.Option("--kind", metavar="KIND", help="Only of this kind, such as backup; may be repeated."),
    ] = None,
    waiting_for: Annotated[
        WaitingFor | None, typer.Option("--waiting-for", help="Only what is queued and waits for this.")
    ] = None,
    request: Annotated[str | None, typer.Option("--request", help="Only what one command asked for.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this user asked for.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Only what ended or waits with this code.")] = None,
    outcome: Annotated[
        Outcome | None, typer.Option("--outcome", help="Only what had an attempt that ended so.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Asked for since then: 2h, 7d, 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Asked for before then.")] = None,
    ended_since: Annotated[str | None, typer.Option("--ended-since", help="Ended since then.")] = None,
    ended_until: Annotated[str | None, typer.Option("--ended-until", help="Ended before then.")] = None,
    due_before: Annotated[
        str | None, typer.Option("--due-before", help="Only what is queued and will be given up before then: 2h.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The oldest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    before: Annotated[int | None, typer.Option("--before", help="Go on before this ID: the last of a page.")] = None,
    after: Annotated[
        int | None, typer.Option("--after", help="Go on after this ID, for a list with the oldest first.")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List operations, the newest first.

    What several options ask for must all hold. A total of 10000 in JSON and YAML means so many or more; --count
    counts them all.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.moment import future, past
    from edgemgr.model.operation_filter import OperationFilter
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store import operation_search
    from edgemgr.store.operation_item import OperationItem

    now = utc_now()
    wanted = OperationFilter(
        sites=_selector(selector, filter_),
        states=tuple(state or (OPEN_STATES if open_only else ())),
        kinds=tuple(kind or ()),
        waiting_for=waiting_for,
        request=request,
        actor=actor,
        code=code,
        outcome=outcome,
        since=past(since, now),
        until=past(until, now),
        ended_since=past(ended_since, now),
        ended_until=past(ended_until, now),
        due_before=future(due_before, now),
        before_id=before,
        after_id=after,
    )
    total = None
    with open_app() as appliance, appliance.database.read() as session:
        wanted = replace(wanted, site_ids=_site_ids(session, names))
        if count:
            typer.echo(operation_search.count_operations(session, wanted))
            return
        rows = operation_search.list_operations(session, wanted, limit=limit, oldest_first=oldest_first)
        if output in (Output.JSON, Output.YAML):
            total = operation_search.count_operations(session, wanted, most=operation_search.TOTAL_MAX)
    items = [OperationItem.of(row.operation, row.site_name) for row in rows]
    emit(items, COLUMNS, output, kind="OperationList", name=lambda item: str(item.id), total=total)


def _site_ids(session: Session, names: list[str] | None) -> tuple[int, ...] | None:
    from edgemgr.store import queries

    return tuple(queries.ids_of_names(session, names)) if names else None


def _selector(labels: str | None, filter_: str | None) -> Selector | None:
    from edgemgr.model.selector import EVERY_SITE
    from edgemgr.model.selector_text import parse_filter, parse_labels

    if labels is None and filter_ is None:
        return None
    where = EVERY_SITE if labels is None else parse_labels(labels)
    return where if filter_ is None else where & parse_filter(filter_)
