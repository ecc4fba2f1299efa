"""`edgemgr site import|export|template`: sites from and to CSV."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from edgemgr.cli.output import Output, emit, print_object
from edgemgr.cli.site_changes import COLUMNS as CHANGE_COLUMNS
from edgemgr.cli.site_changes import change_lines
from edgemgr.errors import InventoryError

if TYPE_CHECKING:
    from edgemgr.inventory.import_report import ImportReport
    from edgemgr.inventory.site_import import Progress

SHOWN_FAULTS = 1000
SHOWN_CHANGES = 20
SOME_REFUSED = 6
REFUSED = 2


class ReportOutput(StrEnum):
    """The forms of an import's report."""

    TABLE = "table"
    JSON = "json"


class TemplateOutput(StrEnum):
    """The forms of the template: the file to fill in, or what its columns mean."""

    CSV = "csv"
    TABLE = "table"


def register(app: typer.Typer) -> None:
    """Add the three commands to `edgemgr site`."""
    app.command("import")(import_)
    app.command("export")(export)
    app.command("template")(template)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE.csv|-", help="CSV file; - reads standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and change nothing.")] = False,
    good_rows: Annotated[
        bool, typer.Option("--good-rows", help="Import the good rows even if others are bad.")
    ] = False,
    bad_rows: Annotated[
        Path | None, typer.Option("--bad-rows", help="Where --good-rows writes the bad ones; default FILE.bad.csv.")
    ] = None,
    output: Annotated[ReportOutput, typer.Option("-o", "--output", help="Form of the report.")] = ReportOutput.TABLE,
) -> None:
    """Create and change sites as a CSV file says. The whole file or nothing.

    All faults are told at once, with line, column and what to write instead. Importing the same file again changes
    nothing. Columns that are not in the file are left alone. `edgemgr site template` prints a file to start from.

    Exit status: 0 done, 2 faults and nothing imported, 6 with --good-rows when some rows were refused.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.bad_rows import write_bad_rows
    from edgemgr.inventory.site_import import import_sites
    from edgemgr.settings import current_actor

    rejects = bad_rows or (Path("bad-rows.csv") if file == "-" else Path(file).with_suffix(".bad.csv"))
    if good_rows and file != "-" and rejects.exists() and rejects.samefile(file):
        raise InventoryError(
            f"the bad rows would overwrite {file}", hint="Name another file by --bad-rows.", code="E-CSV-BAD-ROWS"
        )
    with _source(file) as source, open_app() as appliance:
        with _progress(source) as progress:
            report = import_sites(
                appliance.database,
                appliance.vault,
                source,
                actor=current_actor(),
                dry_run=dry_run,
                good_rows=good_rows,
                progress=progress,
            )
        if report.is_applied and not report.is_clean:
            count = write_bad_rows(source, report, rejects)
            typer.echo(f"{count} bad rows written to {rejects}; mend them there and import that file", err=True)
    (_print_json if output is ReportOutput.JSON else _print_text)(report)
    if not report.is_clean:
        raise typer.Exit(SOME_REFUSED if report.is_applied else REFUSED)


def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write; standard output if none.")
    ] = None,
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="Only sites with these labels.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="Only sites with these fields.")] = None,
) -> None:
    """Write sites as CSV, to be imported again. Without secrets.

    Cells that a spreadsheet would take for a formula get a leading apostrophe, which the import takes off again.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.site_export import export_sites
    from edgemgr.model.selector import EVERY_SITE
    from edgemgr.model.selector_text import parse_filter, parse_labels
    from edgemgr.store.queries import site_ids

    where = (parse_labels(selector) if selector else EVERY_SITE) & (parse_filter(filter_) if filter_ else EVERY_SITE)
    with open_app() as appliance:
        with appliance.database.read() as session:
            ids = site_ids(session, where)
        if file is None:
            export_sites(appliance.database, ids, sys.stdout)
            return
        try:
            beside = file.with_name(f".{file.name}.new")
            with beside.open("w", encoding="utf-8", newline="") as target:
                export_sites(appliance.database, ids, target)
            beside.replace(file)
        except OSError as exc:
            raise InventoryError(f"{file} cannot be written: {exc.strerror}", code="E-CSV-WRITE") from exc
    typer.echo(f"{len(ids)} sites written to {file}", err=True)


def template(
    output: Annotated[
        TemplateOutput, typer.Option("-o", "--output", help="csv: a file to fill in; table: what the columns mean.")
    ] = TemplateOutput.CSV,
) -> None:
    """Print a CSV file to start from. It has one row that shows how; -o table explains the columns."""
    from edgemgr.cli.table import print_table
    from edgemgr.inventory.columns import COLUMNS, label_column
    from edgemgr.inventory.site_export import write_template

    if output is TemplateOutput.CSV:
        write_template(sys.stdout)
        return
    columns = (*COLUMNS, dataclasses.replace(label_column("KEY"), name="labels.KEY"))
    print_table(
        ["column", "required", "example", "meaning"],
        [[column.name, "yes" if column.required else "", column.example or "-", column.help] for column in columns],
    )


@contextmanager
def _source(file: str) -> Iterator[BinaryIO]:
    """Open the file; standard input is kept on disk, nameless, because bad rows are read twice."""
    if file == "-":
        with tempfile.TemporaryFile() as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            spooled.seek(0)
            yield spooled
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below; errors while it is used are not about opening
    except OSError as exc:
        raise InventoryError(
            f"{file} cannot be read: {exc.strerror}",
            hint="Name a CSV file, or - for standard input.",
            code="E-CSV-FILE",
        ) from exc
    with source:
        if not source.seekable():
            raise InventoryError(f"{file} is no file", hint=f"Use: edgemgr site import - < {file}", code="E-CSV-FILE")
        yield source


@contextmanager
def _progress(source: BinaryIO) -> Iterator[Progress]:
    """Show a bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    size = os.fstat(source.fileno()).st_size
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks = {"reading": bar.add_task("reading", total=size)}

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                bar.update(tasks["reading"], completed=size)
                tasks[step] = bar.add_task(step)
            bar.update(tasks[step], completed=done, total=total or size)

        yield progress


def _print_text(report: ImportReport) -> None:
    for fault in report.faults[:SHOWN_FAULTS]:
        typer.echo(str(fault), err=True)
    if report.fault_total > SHOWN_FAULTS:
        typer.echo(f"… and {report.fault_total - SHOWN_FAULTS} more faults: -o json has all of them", err=True)
    shown = report.changes[:SHOWN_CHANGES]
    if shown:
        emit(list(change_lines(shown)), CHANGE_COLUMNS, Output.TABLE, kind="SiteChangeList", name=str)
    if report.changed > len(shown):
        sys.stdout.write(f"… and {report.changed - len(shown)} more sites\n")
    to = "" if report.is_applied else "to be "
    sys.stdout.write(
        f"{to}created {report.created}, {to}changed {report.changed}, unchanged {report.unchanged}, "
        f"refused {report.refused}\n"
    )
    if not report.is_applied:
        why = "this was a dry run" if report.is_dry_run else f"the file has {report.fault_total} fault(s)"
        sys.stdout.write(f"nothing was imported: {why}\n")


def _print_json(report: ImportReport) -> None:
    print_object(
        {
            "applied": report.is_applied,
            "dry_run": report.is_dry_run,
            "created": report.created,
            "changed": report.changed,
            "unchanged": report.unchanged,
            "refused": report.refused,
            "error_total": report.fault_total,
            "errors": [dataclasses.asdict(fault) for fault in report.faults],
            "changes": [dataclasses.asdict(line) for line in change_lines(report.changes)],
        },
        kind="SiteImport",
    )
