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
_MAX_CHAIN_BYTES = 32 * (_MAX_ROOT_BYTES + 1)


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
    from edgemgr.app import open_app
    from edgemgr.inventory.bundle_trust import trust_root
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import current_actor

    data = read_root(file)
    with open_app() as app_:
        info = trust_root(
            app_.database,
            app_.settings.trust_dir,
            data,
            fingerprint=fingerprint,
            now=utc_now(),
            actor=current_actor(),
        )
    tell_root(info, output)


@app.command("update")
def update(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Roots as `bundle keys export-root --chain` prints them.")
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Follow a trusted root to its newest version: every root is signed by the one before it.

    Bundles bring the same; this is for a key that was stolen, which is to count for nothing at once.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.bundle_trust import update_trust
    from edgemgr.model.timestamp import utc_now
    from edgemgr.settings import current_actor

    data = read_root(file, most_bytes=_MAX_CHAIN_BYTES)
    with open_app() as app_:
        info = update_trust(app_.database, app_.settings.trust_dir, data, now=utc_now(), actor=current_actor())
    tell_root(info, output)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the roots that are trusted, each in its newest version."""
    from edgemgr.bundles.trust import TrustStore
    from edgemgr.settings import load_settings

    lines = [root_line(info) for info in TrustStore(load_settings().trust_dir).roots()]
    if not lines and output in (Output.TABLE, Output.WIDE):
        typer.echo("no root is trusted yet: `edgemgr bundle trust add` takes one", err=True)
    emit(lines, ROOT_COLUMNS, output, kind="BundleRootList", name=lambda line: line.name)


def read_root(file: Path, *, most_bytes: int = _MAX_ROOT_BYTES) -> bytes:
    """The file of a root, or of several.

    Raises:
        BundleError: it cannot be read or is too large for one (E-BUNDLE-FILE).
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(most_bytes + 1)
    except OSError as exc:
        why = exc.strerror or str(exc)
    else:
        if len(data) <= most_bytes:
            return data
        why = f"it has more than {most_bytes} bytes"
    raise BundleError(
        f"{file} cannot be taken as a root: {why}",
        hint="Give the file that `edgemgr bundle keys export-root` wrote.",
        code="E-BUNDLE-FILE",
    )
