"""`edgemgr receipt`: what sites without a link confirmed, brought back by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit

if TYPE_CHECKING:
    from edgemgr.inventory.receipt import Outcome
    from edgemgr.store.work_orders import OrderLine

app = typer.Typer(help="What sites without a link confirmed.", no_args_is_help=True, rich_markup_mode=None)

_SOME_FAILED = 6

_OUTCOMES: tuple[Column[Outcome], ...] = (
    Column("file", lambda outcome: outcome.file),
    Column("result", lambda outcome: "refused" if outcome.error else "imported"),
    Column("order", lambda outcome: outcome.order),
    Column("site", lambda outcome: outcome.site),
    Column("bundle", lambda outcome: outcome.bundle),
    Column("files", lambda outcome: outcome.blobs or None),
    Column("staged", lambda outcome: outcome.staged_at),
    Column("code", lambda outcome: outcome.error.code if outcome.error else None),
    Column("message", lambda outcome: outcome.error.message if outcome.error else None, wide=True),
)

_LINES: tuple[Column[OrderLine], ...] = (
    Column("order", lambda line: line.order),
    Column("site", lambda line: line.site),
    Column("bundle", lambda line: line.bundle),
    Column("state", lambda line: line.state),
    Column("staged", lambda line: line.staged_at),
    Column("received", lambda line: line.received_at),
    Column("by", lambda line: line.received_by),
    Column("files", lambda line: line.blobs),
    Column("arch", lambda line: line.arch, wide=True),
    Column("copied bytes", lambda line: line.copied_bytes, wide=True),
    Column("ordered", lambda line: line.ordered_at, wide=True),
    Column("ordered by", lambda line: line.ordered_by, wide=True),
)


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR…", help="Receipts, or the directories of sticks that came back.")
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Take in what sites confirmed. Each receipt must be signed with the host key that is pinned for its site.

    One that is forged, altered, for another appliance or here already is refused and recorded; the others count.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.receipt import import_receipt, receipt_files
    from edgemgr.settings import current_actor

    files = [file for path in paths for file in receipt_files(path)]
    with open_app() as appliance:
        outcomes = [import_receipt(appliance.database, file, actor=current_actor()) for file in files]
    refused = [outcome.error for outcome in outcomes if outcome.error is not None]
    if refused and len(outcomes) == 1:
        raise refused[0]
    emit(outcomes, _OUTCOMES, output, kind="ReceiptImport", name=lambda outcome: outcome.file, plain=_plain)
    for outcome in outcomes:
        if outcome.error is not None:
            typer.echo(f"refused: {outcome.file}: {outcome.error.message} ({outcome.error.code})", err=True)
    if refused:
        raise typer.Exit(_SOME_FAILED)


@app.command("list")
def list_(
    order: Annotated[int | None, typer.Option("--order", metavar="NUMBER", help="Only of this order.")] = None,
    site: Annotated[str | None, typer.Option("--site", metavar="SITE", help="Only of this site.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the sites of all work orders: what each confirmed, and which receipts are still owed."""
    from edgemgr.app import open_app
    from edgemgr.store import work_orders

    with open_app() as appliance, appliance.database.read() as session:
        lines = work_orders.lines(session, order=order, site=site)
    emit(lines, _LINES, output, kind="ReceiptList", name=lambda line: f"{line.order}/{line.site}")


def _plain(outcome: Outcome) -> dict[str, object]:
    fields = ("file", "order", "site", "bundle", "staged_at", "blobs")
    error = outcome.error
    return {
        **{field: getattr(outcome, field) for field in fields},
        "code": error.code if error else "",
        "message": error.message if error else "",
    }
