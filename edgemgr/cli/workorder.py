"""`edgemgr bundle workorder` and `workorder-key`: what is carried by hand to sites without a link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit_one
from edgemgr.cli.size import size_text
from edgemgr.errors import UsageError

if TYPE_CHECKING:
    from edgemgr.inventory.appliance_key import OrderKey
    from edgemgr.inventory.workorder import WrittenOrder

_SHOWN = 5

_COLUMNS: tuple[Column[WrittenOrder], ...] = (
    Column("order", lambda order: order.number),
    Column("bundle", lambda order: order.bundle),
    Column("directory", lambda order: order.directory),
    Column("sites", lambda order: _some(order.sites)),
    Column("files", lambda order: order.blobs),
    Column("size", lambda order: size_text(order.size_bytes)),
    Column("valid until", lambda order: f"{order.expires_at:%Y-%m-%d}"),
    Column("code to tell", lambda order: order.key.code),
    Column("script sha256", lambda order: order.script_digest),
)

_KEY_COLUMNS: tuple[Column[OrderKey], ...] = (
    Column("code to tell", lambda key: key.code),
    Column("fingerprint", lambda key: key.fingerprint),
    Column("public", lambda key: key.public),
)


def register(app: typer.Typer) -> None:
    """Add the commands to `edgemgr bundle`."""
    app.command("workorder")(workorder)
    app.command("workorder-key")(workorder_key)


def workorder(
    bundle: Annotated[
        str, typer.Argument(metavar="PRODUCT/CHANNEL/NUMBER", help="The bundle, as `bundle list` names it.")
    ],
    directory: Annotated[Path, typer.Option("-o", "--directory", metavar="DIR", help="A new directory, on the stick.")],
    sites: Annotated[list[str] | None, typer.Option("--site", metavar="SITE", help="A site by its name.")] = None,
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="Sites with these labels.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="Sites by any field: name~store-0.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All sites.")] = False,
    allow_activation: Annotated[
        bool, typer.Option("--allow-activation", help="Let the script upgrade the site too (not possible yet).")
    ] = False,
    output: Annotated[Output, typer.Option("--output", help="Form of the output.")] = Output.TABLE,
) -> None:
    """Write what sites without a link get of a bundle: a signed order, the bytes, and one script.

    At the site somebody runs `sudo sh stage.sh` from the directory, and carries it back with the receipt that the
    script writes: edgemgr receipt import DIR. At a node's first order the script asks for the code that is shown here:
    tell it by telephone or on paper, never on the stick.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.bars import byte_bars
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.workorder import OrderWriter
    from edgemgr.model.bundle_name import BundleName
    from edgemgr.settings import current_actor

    if allow_activation:
        raise UsageError(
            "this edgemgr cannot yet activate at a site what a stick has brought",
            hint="Leave out --allow-activation: staging disturbs nothing there.",
            code="E-ORDER-ACTIVATION",
        )
    name = BundleName.parse(bundle)
    with open_app() as appliance, byte_bars() as bars:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, sites, selector, filter_, every)]
        writer = OrderWriter(
            appliance.database,
            appliance.vault,
            appliance.settings,
            current_actor(),
            on_progress=lambda done, total: bars(directory.name, done, total),
        )
        written = writer.write(name, ids, directory)
    emit_one(written, _COLUMNS, output, kind="WorkOrder", name=lambda order: str(order.number))


def workorder_key(output: OutputOption = Output.TABLE) -> None:
    """Show the key that signs this appliance's work orders, and its code. It is made at the first time."""
    from edgemgr.app import open_app
    from edgemgr.inventory.appliance_key import order_key

    with open_app() as appliance:
        key = order_key(appliance.database, appliance.vault)
    emit_one(key, _KEY_COLUMNS, output, kind="WorkOrderKey", name=lambda key: key.code)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
