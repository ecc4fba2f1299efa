"""`edgemgr bundle create`: one signed file from release directories, image archives, charts and other files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.bars import Progress, byte_bars
from edgemgr.cli.output import Output
from edgemgr.cli.passphrase import PassphraseFile
from edgemgr.errors import BundleError, ConflictError, UsageError

if TYPE_CHECKING:
    from edgemgr.bundles.create import K3sFiles
    from edgemgr.bundles.recipe import K3sPart, Recipe

_SUFFIX = ".emb"


def register(app: typer.Typer) -> None:
    """Add the command to `edgemgr bundle`."""
    app.command("create")(create)


def create(
    recipe_file: Annotated[Path, typer.Option("-f", "--recipe", metavar="FILE", help="What goes in: bundle.yaml.")],
    target: Annotated[Path, typer.Option("-o", "--bundle", metavar="FILE", help="The new file; it ends in .emb.")],
    keys: Annotated[
        Path | None, typer.Option("--sign-with", metavar="DIR", help="Directory of `bundle keys init`.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Write parts of this size too, for FAT32 sticks: 3900M.")
    ] = None,
    created_at: Annotated[
        str | None, typer.Option("--created-at", help="When it was made, to make the same bytes again: 2026-11-01.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch k3s releases that have no `release:` and check their hashes.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Where fetched releases lie; unset: downloads beside the recipe."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--download-from", metavar="URL", help="A mirror of k3s's releases page.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and say what would go in; write nothing.")
    ] = False,
    output: Annotated[Output, typer.Option("--output", help="Form of the output.")] = Output.TABLE,
) -> None:
    """Make a signed bundle from a recipe. The same inputs, keys and --created-at give the same bytes.

    Release files are checked as `release add` checks them; images are taken apart into layers, so that what several
    share is carried once. Nothing is fetched from anywhere without --download.
    """
    from edgemgr.bundles.create import prepare
    from edgemgr.bundles.recipe import read_recipe
    from edgemgr.bundles.split import split as split_file
    from edgemgr.bundles.write import write_bundle
    from edgemgr.cli.bundle_keys import signer_of
    from edgemgr.cli.bundle_open import look
    from edgemgr.cli.bundle_view import print_view, view_of
    from edgemgr.cli.moment import past
    from edgemgr.cli.size import read_size
    from edgemgr.model.timestamp import utc_now

    now = utc_now()
    made_at = past(created_at, now) or now
    part_bytes = read_size(split) if split else None
    recipe = read_recipe(recipe_file)
    _check_target(target)
    if keys is None and not dry_run:
        raise UsageError("--sign-with is missing", hint="Give the directory of `edgemgr bundle keys init`.")
    signer = signer_of(keys, passphrase_file) if keys and not dry_run else None
    releases = _releases(recipe, cache or recipe_file.absolute().parent / "downloads", source, download=download)
    with _work_directory(target.absolute().parent) as work, byte_bars() as show:
        k3s = [files for version, directory in releases for files in _verified(version, directory, work, show)]
        shelf = work / "blobs"
        shelf.mkdir()
        prepared = prepare(recipe, k3s, work=shelf, created_at=made_at, on_progress=show)
        if signer is not None:
            write_bundle(
                target,
                prepared.payload,
                prepared.release,
                signer,
                expires_at=prepared.expires_at,
                on_progress=lambda done, total: show(target.name, done, total),
            )
    if signer is None:
        size = prepared.payload_bytes
        view = view_of(
            prepared.release,
            prepared.payload,
            file=f"{target} (not written)",
            size_bytes=size,
            expires_at=prepared.expires_at,
            now=now,
            checked="inputs only",
        )
        print_view(view, output, now=now)
        return
    parts = split_file(target, part_bytes) if part_bytes else []
    # Looked at with the time that it was given, so that keys of that time serve; but shown as it stands today.
    view = look(target, root=signer.roots[-1], now=made_at)
    print_view(replace(view, expired=view.expires_at <= now), output, now=now)
    typer.echo(f"{target} was written{_in_parts(len(parts) - 1)}", err=True)


def _in_parts(count: int) -> str:
    """The end of the last line; nothing when the file was not split."""
    if count < 1:
        return ""
    return f", and in {count} part{'s' if count > 1 else ''} for a stick"


def _releases(recipe: Recipe, cache: Path, source: str | None, *, download: bool) -> list[tuple[str, Path]]:
    """Version and directory of every release: its own directory, or the one among the downloads."""
    found = []
    for part in recipe.contents.k3s:
        directory = part.release or cache / part.version
        if download and part.release is None:
            _download(part, directory, source)
        if not directory.is_dir():
            raise BundleError(
                f"the files of k3s {part.version} are not in {directory}",
                hint="Name their directory with `release:`, or add --download where there is internet.",
                code="E-BUNDLE-FILE",
            )
        found.append((part.version, directory))
    return found


def _check_target(target: Path) -> None:
    if target.suffix != _SUFFIX:
        raise UsageError(f"{target} does not end in {_SUFFIX}", hint=f"Call it {target.stem}{_SUFFIX}.")
    if target.exists():
        raise ConflictError(
            f"{target} is there already", hint="Remove it, or give another name.", code="E-BUNDLE-EXISTS"
        )


def _download(part: K3sPart, directory: Path, source: str | None) -> None:
    from edgemgr.bundles.download import K3S_RELEASES, download_release

    with byte_bars() as show:
        base = source or K3S_RELEASES
        names = download_release(part.version, part.archs, directory, base_url=base, on_progress=show)
    for name in names:
        typer.echo(f"fetched {part.version} {name}", err=True)


def _verified(version: str, directory: Path, work: Path, show: Progress) -> Iterator[K3sFiles]:
    """A release's files as verified copies of our own: what is signed is what was hashed."""
    from edgemgr.bundles.create import K3sFiles
    from edgemgr.inventory.release_add import add_release
    from edgemgr.model.release import Arch, Part

    store = work / "releases"
    added = add_release(directory, store_dir=store, version=version, on_progress=show)
    for note in added.warnings:
        typer.echo(f"note: {note}", err=True)
    found = {(file.arch, file.part): store / "sha256" / file.digest for file in added.files}
    for arch in Arch:
        if (arch.value, Part.BINARY.value) in found:
            yield K3sFiles(version, arch, found[arch, Part.BINARY], found[arch, Part.IMAGES])


@contextmanager
def _work_directory(beside: Path) -> Iterator[Path]:
    """Room beside the new file; gone at the end."""
    try:
        with tempfile.TemporaryDirectory(prefix=".making-", dir=beside) as name:
            yield Path(name)
    except OSError as exc:
        raise BundleError(
            f"{beside} cannot be written: {exc.strerror or exc}",
            hint="Give a directory that is there and may be written.",
            code="E-BUNDLE-FILE",
        ) from exc
