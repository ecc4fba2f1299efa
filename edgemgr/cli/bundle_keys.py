"""`edgemgr bundle keys`: the keys that sign bundles, on the machine where bundles are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit_one
from edgemgr.cli.passphrase import PassphraseFile, passphrase_of, typed_passphrase, with_passphrase

if TYPE_CHECKING:
    from edgemgr.bundles.keys import ReleaseSigner
    from edgemgr.bundles.roots import RootInfo

app = typer.Typer(help="Keys that sign bundles.", no_args_is_help=True, rich_markup_mode=None)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the keys.")]


class For(StrEnum):
    """What keys are for."""

    RELEASE = "release"
    DEVELOPMENT = "development"


@dataclass(frozen=True)
class RootLine:
    """A root, as it is shown."""

    name: str
    purpose: str
    version: int
    fingerprint: str
    expires_at: datetime
    release_keys: tuple[str, ...]
    root_keys: tuple[str, ...]
    threshold: int


ROOT_COLUMNS: tuple[Column[RootLine], ...] = (
    Column("name", lambda line: line.name),
    Column("purpose", lambda line: line.purpose),
    Column("version", lambda line: line.version),
    Column("valid until", lambda line: f"{line.expires_at:%Y-%m-%d}"),
    Column("fingerprint", lambda line: line.fingerprint),
    Column("release keys", lambda line: " ".join(line.release_keys), wide=True),
    Column("root keys", lambda line: " ".join(line.root_keys), wide=True),
    Column("threshold", lambda line: line.threshold, wide=True),
)


@app.command("init")
def init(
    directory: Directory,
    name: Annotated[str, typer.Option("--name", help="Whose keys they are: vendor, site-owner.")] = "vendor",
    purpose: Annotated[For, typer.Option("--for", help="What may be signed with them.")] = For.RELEASE,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the keys open to whoever reads the files.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make three root keys, of which two must sign, and one release key, in a new directory.

    Move the root keys away from this machine: only rotating keys needs them. Tell the fingerprint that is printed to
    everybody who shall trust these keys, by another way than the bundles take.
    """
    from edgemgr.bundles.keys import init_keys
    from edgemgr.model.timestamp import utc_now

    passphrase = passphrase_of(passphrase_file)
    if passphrase is None and not no_passphrase:
        passphrase = typed_passphrase("Passphrase for the new keys: ", twice=True)
    tell_root(init_keys(directory, name=name, purpose=purpose.value, passphrase=passphrase, now=utc_now()), output)


@app.command("rotate")
def rotate(
    directory: Directory,
    which: Annotated[
        str, typer.Argument(metavar="KEY", help="Which key is replaced: release, root-1, root-2 or root-3.")
    ],
    passphrase_file: PassphraseFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Replace a key and make the next root, signed by enough keys of the old and of the new one.

    Appliances accept bundles signed after it without a hand: every bundle carries the whole chain of roots.
    """
    from edgemgr.bundles.keys import rotate_key
    from edgemgr.model.timestamp import utc_now

    now = utc_now()
    tell_root(
        with_passphrase(lambda text: rotate_key(directory, which, passphrase=text, now=now), passphrase_file), output
    )


@app.command("export-root")
def export_root_(
    directory: Directory,
    chain: Annotated[
        bool, typer.Option("--chain", help="Print all roots: the update that `bundle trust update` takes.")
    ] = False,
) -> None:
    """Print the newest root: what appliances are given with `bundle trust add`. It holds no secret."""
    import sys

    from edgemgr.bundles.keys import export_chain, export_root

    sys.stdout.write((export_chain(directory) if chain else export_root(directory)).decode())


@app.command("show")
def show(directory: Directory, output: OutputOption = Output.TABLE) -> None:
    """Show the newest root of a directory of keys, and its fingerprint. Asks for no passphrase."""
    from edgemgr.bundles.chain import info_of, read_root
    from edgemgr.bundles.keys import export_root

    tell_root(info_of(read_root(export_root(directory), "root.json")), output)


def signer_of(directory: Path, passphrase_file: Path | None) -> ReleaseSigner:
    """Open the release key; asks for the passphrase only where there is one.

    Raises:
        BundleError: the keys cannot be used, or the passphrase is not theirs.
    """
    from edgemgr.bundles.keys import load_signer

    return with_passphrase(lambda text: load_signer(directory, text), passphrase_file)


def tell_root(info: RootInfo, output: Output) -> None:
    """Print one root."""
    emit_one(root_line(info), ROOT_COLUMNS, output, kind="BundleRoot", name=lambda line: line.name)


def root_line(info: RootInfo) -> RootLine:
    """A root as a row."""
    return RootLine(
        name=info.name,
        purpose=info.purpose.value,
        version=info.version,
        fingerprint=info.fingerprint,
        expires_at=info.expires_at,
        release_keys=info.release_key_ids,
        root_keys=info.key_ids,
        threshold=info.threshold,
    )
