"""`edgemgr release`: the k3s release files that this appliance can give to sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from edgemgr.cli.bars import byte_bars
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.model.release_file import ReleaseFile

app = typer.Typer(help="k3s release files, verified and kept here.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True)
class Line:
    """One version for one architecture."""

    version: str
    arch: str
    files: dict[str, str]  #: part → SHA-256
    size_bytes: int
    added_at: datetime


_COLUMNS: tuple[Column[Line], ...] = (
    Column("version", lambda line: line.version),
    Column("arch", lambda line: line.arch),
    Column("parts", lambda line: ", ".join(line.files)),
    Column("size", lambda line: f"{line.size_bytes / 1048576:.1f} MiB"),
    Column("added", lambda line: line.added_at),
    Column("digests", lambda line: line.files, wide=True),
)


@app.command("add")
def add(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory with the files as k3s publishes them.")],
    version: Annotated[
        str | None, typer.Option("--version", help="The version, if neither the directory's name nor the file tells.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check k3s release files and keep them, all or none. Hash, architecture and form of every file are checked.

    DIR holds k3s, k3s-arm64 or k3s-armhf, k3s-airgap-images-ARCH.tar[.gz|.zst] and sha256sum-ARCH.txt.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.release_add import add_release
    from edgemgr.settings import current_actor
    from edgemgr.store import releases

    with open_app() as appliance:
        with byte_bars() as show:
            added = add_release(directory, store_dir=appliance.settings.release_dir, version=version, on_progress=show)
        with appliance.database.write() as session:
            fresh = releases.add(session, added.files, actor=current_actor())
            lines = [line for line in _lines(releases.all_files(session)) if line.version == added.version]
    for warning in added.warnings:
        typer.echo(f"note: {warning}", err=True)
    typer.echo(f"k3s {added.version} " + ("was added" if fresh else "was there already"), err=True)
    emit(lines, _COLUMNS, output, kind="ReleaseList", name=lambda line: f"{line.version}/{line.arch}")


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the versions that sites can be given."""
    from edgemgr.app import open_app
    from edgemgr.store import releases

    with open_app() as appliance, appliance.database.read() as session:
        lines = _lines(releases.all_files(session))
    if not lines and output in (Output.TABLE, Output.WIDE):
        typer.echo("no release yet: `edgemgr release add DIR` takes one", err=True)
    emit(lines, _COLUMNS, output, kind="ReleaseList", name=lambda line: f"{line.version}/{line.arch}")


def _lines(files: Sequence[ReleaseFile]) -> list[Line]:
    grouped: dict[tuple[str, str], list[ReleaseFile]] = {}
    for file in files:
        grouped.setdefault((file.version, file.arch), []).append(file)
    return [
        Line(
            version=version,
            arch=arch,
            files={file.part: file.digest for file in parts},
            size_bytes=sum(file.size_bytes for file in parts),
            added_at=max(file.added_at for file in parts),
        )
        for (version, arch), parts in grouped.items()
    ]
