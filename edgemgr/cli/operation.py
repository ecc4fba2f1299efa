"""`edgemgr operation`: what was asked of sites, how it went, and its logs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Annotated

import typer

from edgemgr.cli import operation_list
from edgemgr.cli.output import Column, Output, OutputOption, emit, emit_one
from edgemgr.errors import NotFoundError
from edgemgr.model.operation import OPEN_STATES, OperationState
from edgemgr.store.operation_item import AttemptItem, OperationItem

app = typer.Typer(help="What was asked of sites, and how it went.", no_args_is_help=True, rich_markup_mode=None)
operation_list.register(app)

#: How often `logs -f` asks whether the operation has ended, seconds.
FOLLOW_POLL_S = 0.5


@dataclass(frozen=True)
class Whole:
    """One operation with its attempts."""

    operation: OperationItem
    attempts: list[AttemptItem]


@app.command("show")
def show(
    operation_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the operation.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one operation and each of its attempts."""
    from edgemgr.app import open_app
    from edgemgr.store import history

    with open_app() as appliance, appliance.database.read() as session:
        row = history.get_operation(session, operation_id)
        item = OperationItem.of(row.operation, row.site_name)
        attempts = [AttemptItem.of(attempt) for attempt in history.attempts_of(session, operation_id)]
    if output in (Output.JSON, Output.YAML):
        whole = Whole(item, attempts)
        emit_one(whole, (), output, kind="Operation", name=lambda whole: str(whole.operation.id))
        return
    fields = (
        *operation_list.COLUMNS[:-1],
        Column[OperationItem]("next try", lambda item: item.not_before if item.state == "queued" else None),
        Column[OperationItem]("message", lambda item: item.message),
        Column[OperationItem]("hint", lambda item: item.hint),
    )
    emit_one(item, fields, output, kind="Operation", name=lambda item: str(item.id))
    if attempts and output in (Output.TABLE, Output.WIDE):
        sys.stdout.write("\n")
        emit(
            attempts,
            (
                Column("attempt", lambda item: item.number),
                Column("outcome", lambda item: item.outcome),
                Column("changed", lambda item: item.changed),
                Column("started", lambda item: item.started_at),
                Column("code", lambda item: item.code),
                Column("message", lambda item: item.message),
            ),
            output,
            kind="AttemptList",
            name=lambda item: str(item.id),
        )


@app.command("logs")
def logs(
    operation_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the operation.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the operation has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="Number of the attempt; the last one by default.")
    ] = None,
) -> None:
    """Print the log of an attempt."""
    from edgemgr.app import App, open_app
    from edgemgr.runner.log import follow_log, read_log
    from edgemgr.store import history

    def chosen(appliance: App) -> tuple[int | None, bool]:
        with appliance.database.read() as session:
            operation = history.get_operation(session, operation_id).operation
            found = history.attempts_of(session, operation_id)
        picked = [item for item in found if attempt in (None, item.number)]
        ended = OperationState(operation.state) not in OPEN_STATES
        return (picked[-1].id if picked else None), ended

    def is_settled(appliance: App, attempt_id: int) -> bool:
        with appliance.database.read() as session:
            return any(
                item.id == attempt_id and item.outcome is not None
                for item in history.attempts_of(session, operation_id)
            )

    with open_app() as appliance:
        printed: set[int] = set()
        while True:
            attempt_id, ended = chosen(appliance)
            if attempt_id is None and not follow:
                raise NotFoundError(
                    f"operation {operation_id} has no such attempt yet",
                    hint="`edgemgr operation show` tells what it waits for; --follow waits with it.",
                    code="E-OP-NO-ATTEMPT",
                )
            if attempt_id is not None and attempt_id not in printed:
                printed.add(attempt_id)
                number = attempt_id
                lines = (
                    follow_log(appliance.settings.log_dir, number, lambda: is_settled(appliance, number))  # noqa: B023
                    if follow
                    else read_log(appliance.settings.log_dir, number)
                )
                for text in lines:
                    sys.stdout.write(text.rstrip("\n") + "\n")
                    sys.stdout.flush()
            if not follow or ended or attempt is not None:
                return
            time.sleep(FOLLOW_POLL_S)


@app.command("cancel")
def cancel(
    operation_ids: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Numbers of operations.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="Everything that one command asked for.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would be, and change nothing.")] = False,
) -> None:
    """Cancel operations: what waits ends at once, what runs is stopped."""
    from edgemgr.app import open_app
    from edgemgr.operations import steer
    from edgemgr.settings import current_actor

    with open_app() as appliance:
        chosen = steer.open_among(appliance.database, operation_ids or (), request=request)
        if dry_run:
            typer.echo(f"would cancel {len(chosen)} operation(s): {', '.join(map(str, chosen[:20]))}")
            return
        canceled = steer.cancel(appliance.database, chosen, actor=current_actor())
    typer.echo(f"{canceled.waiting} canceled, {canceled.running} asked to stop")


@app.command("retry")
def retry(
    operation_ids: Annotated[list[int], typer.Argument(metavar="ID", help="Numbers of operations.")],
) -> None:
    """Ask again for what failed, expired or was canceled. What waits for its next try runs now."""
    from edgemgr.app import open_app
    from edgemgr.operations import steer
    from edgemgr.settings import current_actor

    with open_app() as appliance:
        for number in operation_ids:
            request = steer.retry(appliance.database, number, actor=current_actor())
            typer.echo(f"{number} runs as soon as it can" if request is None else f"{number} asked again as {request}")
