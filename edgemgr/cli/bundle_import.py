"""`edgemgr bundle import`, `list` and `remove`: the bundles that this appliance holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.bars import byte_bars
from edgemgr.cli.output import Column, Output, OutputOption, emit, emit_one, print_object
from edgemgr.cli.size import size_text
from edgemgr.errors import UsageError

if TYPE_CHECKING:
    from edgemgr.inventory.bundle_remove import Removal
    from edgemgr.store.bundle_item import BundleItem

_KEY_SHOWN = 8

_COLUMNS: tuple[Column[BundleItem], ...] = (
    Column("bundle", lambda item: item.name),
    Column("title", lambda item: item.title),
    Column("state", lambda item: item.state),
    Column("k3s", lambda item: ", ".join(item.k3s_versions)),
    Column("arch", lambda item: ", ".join(item.archs)),
    Column("valid until", lambda item: f"{item.expires_at:%Y-%m-%d}{' (expired)' if item.expired else ''}"),
    Column("size", lambda item: size_text(item.size_bytes)),
    Column("signed by", lambda item: f"{item.root} ({', '.join(key[:_KEY_SHOWN] for key in item.key_ids)})"),
    Column("imported", lambda item: item.imported_at),
    Column("by", lambda item: item.imported_by),
    Column("from", lambda item: ", ".join(item.from_versions), wide=True),
    Column("accepted", lambda item: item.accepted_reason, wide=True),
    Column("digest", lambda item: item.digest, wide=True),
)

Name = Annotated[str, typer.Argument(metavar="PRODUCT/CHANNEL/NUMBER", help="The bundle, as `bundle list` names it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `edgemgr bundle`."""
    app.command("import")(import_)
    app.command("list")(list_)
    app.command("remove")(remove)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A bundle, its first part, or the directory with its parts.")
    ],
    accept_expired: Annotated[
        bool, typer.Option("--accept-expired", help="Take it this once although it has expired; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why an expired bundle is taken; this is recorded.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy a bundle, check the copy to its last byte, and keep what is in it, all or nothing.

    An import that broke off goes on where it was when the command is repeated. Sites can be given the k3s versions
    of the bundle at once: edgemgr bootstrap --version VERSION.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.bundle_import import Importer
    from edgemgr.settings import current_actor

    if accept_expired != bool(reason.strip()):
        raise UsageError(
            "--accept-expired and --reason belong together",
            hint='Write for example --accept-expired --reason "renewal comes with the next visit".',
            code="E-BUNDLE-REASON",
        )
    with open_app() as appliance, byte_bars() as bars:
        importer = Importer(
            appliance.database, appliance.settings, current_actor(), accepted_reason=reason.strip(), on_progress=bars
        )
        imported = importer.take(file)
    typer.echo(f"{imported.bundle.name} " + ("was imported" if imported.fresh else "is already imported"), err=True)
    emit_one(imported.bundle, _COLUMNS, output, kind="Bundle", name=lambda item: item.name)


def list_(output: OutputOption = Output.TABLE) -> None:
    """List the bundles that were taken in. One that is `importing` is being so, or broke off."""
    from edgemgr.app import open_app
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store import bundles
    from edgemgr.store.bundle_item import BundleItem

    now = utc_now()
    with open_app() as appliance, appliance.database.read() as session:
        items = [BundleItem.of(bundle, now) for bundle in bundles.all_bundles(session)]
    if not items and output in (Output.TABLE, Output.WIDE):
        typer.echo("no bundle yet: `edgemgr bundle import FILE` takes one", err=True)
    emit(items, _COLUMNS, output, kind="BundleList", name=lambda item: item.name)


def remove(
    name: Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove a bundle and the content that no other bundle and no release holds.

    Refused as long as a site or an operation needs a version that only this bundle holds, and until the stages and
    upgrades out of it have ended.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.bundle_remove import preview_removal, remove_bundle
    from edgemgr.model.bundle_name import BundleName
    from edgemgr.settings import current_actor

    bundle = BundleName.parse(name)
    with open_app() as appliance:
        if dry_run:
            removal = preview_removal(appliance.database, bundle)
        else:
            removal = remove_bundle(appliance.database, appliance.settings, bundle, actor=current_actor())
    _print_removal(removal, output, dry_run=dry_run)


def _print_removal(removal: Removal, output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        document = {
            "bundle": removal.bundle.name,
            "dryRun": dry_run,
            "blobs": removal.blobs,
            "freedBytes": removal.freed_bytes,
            "versions": removal.versions,
            "uses": removal.uses,
        }
        print_object(document, kind="BundleRemoval")
        return
    columns: tuple[Column[Removal], ...] = (
        Column("bundle", lambda row: row.bundle.name),
        Column("files", lambda row: row.blobs),
        Column("frees", lambda row: size_text(row.freed_bytes)),
        Column("versions", lambda row: ", ".join(row.versions)),
        Column("needed", lambda row: "; ".join(row.uses)),
    )
    emit_one(removal, columns, output, kind="BundleRemoval", name=lambda row: row.bundle.name)
    if removal.uses:
        typer.echo("would be refused: something needs what only this bundle holds", err=True)
    elif dry_run:
        typer.echo("nothing was changed", err=True)
