"""`edgemgr operation`: what was asked of sites, how it went, and its logs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit, emit_one
from edgemgr.errors import NotFoundError
from edgemgr.model.operation import OPEN_STATES, OperationKind, OperationState
from edgemgr.store.history import OperationRow

app = typer.Typer(help="What was asked of sites, and how it went.", no_args_is_help=True, rich_markup_mode=None)

#: How often `logs -f` asks whether the operation has ended, seconds.
FOLLOW_POLL_S = 0.5


@dataclass(frozen=True)
class Line:
    """An operation as lists show it."""

    id: int
    site: str
    kind: str
    state: str
    waiting_for: str
    attempts: int
    created_at: datetime
    not_before: datetime
    deadline_at: datetime
    finished_at: datetime | None
    request: str
    actor: str
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, row: OperationRow) -> Line:
        """Take what is shown from the row."""
        operation = row.operation
        return cls(
            id=operation.id or 0,
            site=row.site_name,
            kind=operation.kind,
            state=operation.state,
            waiting_for=operation.waiting_for if operation.state == OperationState.QUEUED.value else "",
            attempts=operation.attempts,
            created_at=operation.created_at,
            not_before=operation.not_before,
            deadline_at=operation.deadline_at,
            finished_at=operation.finished_at,
            request=operation.request,
            actor=operation.actor,
            code=operation.code,
            message=operation.message,
            hint=operation.hint,
        )


_COLUMNS: tuple[Column[Line], ...] = (
    Column("id", lambda line: line.id),
    Column("site", lambda line: line.site),
    Column("kind", lambda line: line.kind),
    Column("state", lambda line: line.state),
    Column("waiting for", lambda line: line.waiting_for),
    Column("attempts", lambda line: line.attempts),
    Column("age", lambda line: line.created_at),
    Column("ended", lambda line: line.finished_at),
    Column("request", lambda line: line.request, wide=True),
    Column("by", lambda line: line.actor, wide=True),
    Column("code", lambda line: line.code, wide=True),
    Column("message", lambda line: line.message),
)


@dataclass(frozen=True)
class AttemptLine:
    """An attempt as `show` prints it."""

    number: int
    id: int
    outcome: str
    changed: bool
    worker: str
    started_at: datetime
    finished_at: datetime | None
    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Whole:
    """One operation with its attempts."""

    operation: Line
    attempts: list[AttemptLine]


@app.command("list")
def list_(
    names: Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Only of these sites.")] = None,
    state: Annotated[
        list[OperationState] | None, typer.Option("--state", help="Only in this state; may be repeated.")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only what has not ended.")] = False,
    kind: Annotated[list[OperationKind] | None, typer.Option("--kind", help="Only of this kind.")] = None,
    waiting_for: Annotated[
        str | None, typer.Option("--waiting-for", help="Only what waits for this: turn, contact or backoff.")
    ] = None,
    request: Annotated[str | None, typer.Option("--request", help="Only what one command asked for.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most, the newest first.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List operations, the newest first."""
    from edgemgr.app import open_app
    from edgemgr.store import history, queries

    states = [item.value for item in state or ()] or ([item.value for item in OPEN_STATES] if open_only else [])
    with open_app() as appliance, appliance.database.read() as session:
        rows = history.list_operations(
            session,
            site_ids=queries.ids_of_names(session, names) if names else None,
            states=states,
            kinds=[item.value for item in kind or ()],
            request=request,
            waiting_for=waiting_for,
            limit=limit,
        )
    emit([Line.of(row) for row in rows], _COLUMNS, output, kind="OperationList", name=lambda line: str(line.id))


@app.command("show")
def show(
    operation_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the operation.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one operation and each of its attempts."""
    from edgemgr.app import open_app
    from edgemgr.store import history

    with open_app() as appliance, appliance.database.read() as session:
        line = Line.of(history.get_operation(session, operation_id))
        attempts = [
            AttemptLine(
                number=attempt.number,
                id=attempt.id or 0,
                outcome=attempt.outcome or "running",
                changed=attempt.changed,
                worker=attempt.worker_id,
                started_at=attempt.started_at,
                finished_at=attempt.finished_at,
                code=attempt.code,
                message=attempt.message,
                hint=attempt.hint,
            )
            for attempt in history.attempts_of(session, operation_id)
        ]
    if output in (Output.JSON, Output.YAML):
        whole = Whole(line, attempts)
        emit_one(whole, (), output, kind="Operation", name=lambda whole: str(whole.operation.id))
        return
    fields = (
        *_COLUMNS[:-1],
        Column[Line]("next try", lambda line: line.not_before if line.state == "queued" else None),
        Column[Line]("message", lambda line: line.message),
        Column[Line]("hint", lambda line: line.hint),
    )
    emit_one(line, fields, output, kind="Operation", name=lambda line: str(line.id))
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
