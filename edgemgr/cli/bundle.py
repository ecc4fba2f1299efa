"""`edgemgr bundle`: one signed file that brings sites from version to version without the internet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from edgemgr.cli import bundle_create, bundle_import, bundle_keys, bundle_trust, workorder
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.cli.size import size_text

app = typer.Typer(help="Signed files that carry versions to sites.", no_args_is_help=True, rich_markup_mode=None)
bundle_create.register(app)
bundle_import.register(app)
workorder.register(app)
app.add_typer(bundle_keys.app, name="keys")
app.add_typer(bundle_trust.app, name="trust")

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A bundle, its first part, or the directory with its parts.")
]
RootFile = Annotated[
    Path | None,
    typer.Option("--root", metavar="FILE", help="Trust this root for once, in place of those that are trusted here."),
]


@dataclass(frozen=True)
class DiffLine:
    """One difference, as a row: a thing that changes, or what travels for it."""

    change: str
    what: str
    name: str
    archs: tuple[str, ...]
    before: str = ""
    after: str = ""
    count: int | None = None
    size_bytes: int | None = None


_DIFF_COLUMNS: tuple[Column[DiffLine], ...] = (
    Column("change", lambda line: line.change),
    Column("what", lambda line: line.what),
    Column("name", lambda line: line.name),
    Column("arch", lambda line: " ".join(line.archs)),
    Column("before", lambda line: line.before),
    Column("after", lambda line: line.after),
    Column("count", lambda line: line.count, wide=True),
    Column("size_bytes", lambda line: line.size_bytes, wide=True),
)


@app.command("show")
def show(file: File, root: RootFile = None, output: OutputOption = Output.TABLE) -> None:
    """Show what a bundle is, who signed it and what is in it. Its signatures are checked, its content is not.

    Neither age nor an older number keeps a bundle from being shown; `-o wide` lists its images.
    """
    from edgemgr.cli.bundle_open import look
    from edgemgr.cli.bundle_trust import read_root
    from edgemgr.cli.bundle_view import print_view
    from edgemgr.model.timestamp import utc_now

    now = utc_now()
    print_view(look(file, root=read_root(root) if root else None, now=now), output, now=now)


@app.command("verify")
def verify(file: File, root: RootFile = None, output: OutputOption = Output.TABLE) -> None:
    """Check a bundle to its last byte, as an import would. Changes nothing, and remembers nothing."""
    from edgemgr.cli.bars import byte_bars
    from edgemgr.cli.bundle_open import verified
    from edgemgr.cli.bundle_trust import read_root
    from edgemgr.cli.bundle_view import print_view
    from edgemgr.model.timestamp import utc_now

    now = utc_now()
    with byte_bars() as bars:
        view = verified(
            file,
            root=read_root(root) if root else None,
            now=now,
            on_progress=lambda done, total: bars(file.name, done, total),
        )
    print_view(view, output, now=now)


@app.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The bundle that sites have.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The bundle that they would get.")],
    root: RootFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a bundle changes on a site that has another.

    Versions, images and files that come, go or change, and the bytes to be sent for each architecture.
    """
    from edgemgr.bundles.diff import diff_contents
    from edgemgr.cli.bundle_open import contents_of
    from edgemgr.cli.bundle_trust import read_root
    from edgemgr.model.timestamp import utc_now

    trusted = read_root(root) if root else None
    now = utc_now()
    before, after = contents_of(old, root=trusted, now=now), contents_of(new, root=trusted, now=now)
    found = diff_contents(before, after)
    had = f"{before.release.product}/{before.release.channel}/{before.release.number}"
    lines = [
        DiffLine(change.change, change.what, change.name, change.archs, change.before, change.after)
        for change in found.changes
    ]
    for_people = output in (Output.TABLE, Output.WIDE)
    if not for_people:
        lines += [
            DiffLine("to send", "blobs", "", (one.arch,), count=one.blobs, size_bytes=one.new_bytes)
            for one in found.transfers
        ]
    emit(lines, _DIFF_COLUMNS, output, kind="BundleDiff", name=lambda line: f"{line.change} {line.what}/{line.name}")
    for one in found.transfers if for_people else ():
        typer.echo(
            f"a site on {one.arch} that has {had} is sent {size_text(one.new_bytes)} of "
            f"{size_text(one.all_bytes)} ({one.share:.0%}, {one.blobs} blobs)"
        )
