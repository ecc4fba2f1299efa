"""`edgemgr bundle trust`: whose bundles this appliance takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgemgr.cli.bundle_keys import ROOT_COLUMNS, root_line, tell_root
from edgemgr.cli.output import Output, OutputOption, emit
from edgemgr.errors import BundleError

app = typer.Typer(help="Whose bundles this appliance takes.", no_args_is_help=True, rich_markup_mode=None)

_MAX_ROOT_BYTES = 512_000


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Root as `bundle keys export-root` prints it.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Its SHA256:…, as its owner told you by another way.")
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Trust a root, after its fingerprint was compared. None is trusted before.

    Later roots of the same keys come with the bundles. As soon as a root for releases is trusted, bundles signed for
    development are refused.
    """
    from edgemgr.bundles.trust import TrustStore
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import load_settings

    store = TrustStore(load_settings().trust_dir)
    tell_root(store.add_root(read_root(file), fingerprint=fingerprint, now=utc_now()), output)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the roots that are trusted, each in its newest version."""
    from edgemgr.bundles.trust import TrustStore
    from edgemgr.settings import load_settings

    lines = [root_line(info) for info in TrustStore(load_settings().trust_dir).roots()]
    if not lines and output in (Output.TABLE, Output.WIDE):
        typer.echo("no root is trusted yet: `edgemgr bundle trust add` takes one", err=True)
    emit(lines, ROOT_COLUMNS, output, kind="BundleRootList", name=lambda line: line.name)


def read_root(file: Path) -> bytes:
    """The file of a root.

    Raises:
        BundleError: it cannot be read or is too large for one (E-BUNDLE-FILE).
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_ROOT_BYTES + 1)
    except OSError as exc:
        why = exc.strerror or str(exc)
    else:
        if len(data) <= _MAX_ROOT_BYTES:
            return data
        why = f"it has more than {_MAX_ROOT_BYTES} bytes"
    raise BundleError(
        f"{file} cannot be taken as a root: {why}",
        hint="Give the file that `edgemgr bundle keys export-root` wrote.",
        code="E-BUNDLE-FILE",
    )
