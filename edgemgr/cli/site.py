"""`edgemgr site`: the inventory, one site or many."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli import site_import
from edgemgr.cli.output import Column, Output, OutputOption, age, emit, emit_one
from edgemgr.cli.site_changes import COLUMNS as CHANGE_COLUMNS
from edgemgr.cli.site_changes import change_lines
from edgemgr.errors import InventoryError

if TYPE_CHECKING:
    from edgemgr.model.site_change import SiteChange
    from edgemgr.store.queries import SiteRow

SHOWN_EVENTS = 10

app = typer.Typer(help="Sites: import, list, show, change.", no_args_is_help=True, rich_markup_mode=None)
site_import.register(app)

Labels = Annotated[str | None, typer.Option("-l", "--selector", help="Sites with these labels: region=emea,tier!=lab.")]
Filter = Annotated[
    str | None, typer.Option("--filter", help="Sites by any field: health=failing k3s<v1.33 name~store-0.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
Edited = Annotated[
    str | None, typer.Option(help="As in the column of this name: `edgemgr site template -o table`; '' takes it away.")
]


def _endpoint(row: SiteRow) -> str:
    host = f"[{row.address}]" if ":" in row.address else row.address
    return f"{host}:{row.port}"


def _paused(row: SiteRow) -> str | None:
    if row.paused_at is None:
        return None
    return f"{age(row.paused_at)} ago" + (f": {row.paused_why}" if row.paused_why else "")


def _doing(row: SiteRow) -> str:
    operation = row.operation
    if operation is None:
        return ""
    if operation.state == "queued":
        return f"{operation.kind} queued, waits for {operation.waiting_for}"
    return " ".join(part for part in (operation.kind, operation.state, operation.code) if part)


_LIST: tuple[Column[SiteRow], ...] = (
    Column("name", lambda row: row.name),
    Column("address", _endpoint),
    Column("trust", lambda row: row.trust),
    Column("reachability", lambda row: row.reachability),
    Column("health", lambda row: row.health),
    Column("k3s", lambda row: row.k3s_version),
    Column("update", lambda row: row.update),
    Column("age", lambda row: row.observed_at),
    Column("operation", _doing),
    Column("labels", lambda row: row.labels, wide=True),
    Column("wanted", lambda row: row.k3s_desired, wide=True),
    Column("contact", lambda row: row.contact_at, wide=True),
    Column("profile", lambda row: row.profile, wide=True),
    Column("arch", lambda row: row.arch, wide=True),
    Column("paused", _paused, wide=True),
    Column("reason", lambda row: row.health_reason or row.reachability_reason, wide=True),
)

_SHOW: tuple[Column[SiteRow], ...] = (
    Column("name", lambda row: row.name),
    Column("address", _endpoint),
    Column("user", lambda row: row.user),
    Column("jump", lambda row: row.jump),
    Column("trust", lambda row: row.trust),
    Column("host key", lambda row: row.host_key_fingerprint),
    Column("labels", lambda row: row.labels),
    Column("profile", lambda row: row.profile),
    Column("arch", lambda row: row.arch),
    Column("time zone", lambda row: row.timezone),
    Column("position", lambda row: None if row.latitude is None else f"{row.latitude} {row.longitude}"),
    Column("notes", lambda row: row.notes),
    Column("k3s", lambda row: row.k3s_version),
    Column("k3s wanted", lambda row: row.k3s_desired),
    Column("update", lambda row: row.update),
    Column("health", lambda row: row.health),
    Column("health reason", lambda row: row.health_reason),
    Column("observed", lambda row: row.observed_at),
    Column("reachability", lambda row: row.reachability),
    Column("reach reason", lambda row: row.reachability_reason),
    Column("contact", lambda row: row.contact_at),
    Column("paused", _paused),
    Column("operation", _doing),
    Column("message", lambda row: row.operation.message if row.operation else None),
)


@app.command("list")
def list_(
    selector: Labels = None,
    filter_: Filter = None,
    sort: Annotated[str, typer.Option(help="name, health, k3s, contact, …; -KEY turns it round.")] = "name",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List sites with what was last observed. AGE is the age of that observation."""
    from edgemgr.app import open_app
    from edgemgr.model.selector import EVERY_SITE
    from edgemgr.model.selector_text import parse_filter, parse_labels
    from edgemgr.store.queries import list_sites

    where = (parse_labels(selector) if selector else EVERY_SITE) & (parse_filter(filter_) if filter_ else EVERY_SITE)
    with open_app() as appliance, appliance.database.read() as session:
        rows, total = list_sites(session, where=where, sort=sort, limit=limit)
    emit(rows, _LIST, output, kind="SiteList", name=lambda row: row.name, total=total)
    if output in (Output.TABLE, Output.WIDE) and (len(rows) < total or not total):
        typer.echo(f"{len(rows)} of {total} sites" if total else "no sites", err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")], output: OutputOption = Output.TABLE
) -> None:
    """Show everything that is known of one site."""
    from edgemgr.app import open_app
    from edgemgr.model.selector import Selector
    from edgemgr.store import events
    from edgemgr.store.queries import get_site, list_sites

    with open_app() as appliance, appliance.database.read() as session:
        get_site(session, name)
        rows, _ = list_sites(session, where=Selector.of_names(name))
        recent = events.history(session, site_id=rows[0].id, limit=SHOWN_EVENTS)
    emit_one(rows[0], _SHOW, output, kind="Site", name=lambda row: row.name)
    if output in (Output.TABLE, Output.WIDE):
        sys.stdout.write("\n")
        happened: tuple[Column[object], ...] = (
            Column("age", lambda event: getattr(event, "at", None)),
            Column("reason", lambda event: getattr(event, "reason", None)),
            Column("actor", lambda event: getattr(event, "actor", None)),
            Column("message", lambda event: getattr(event, "message", None)),
        )
        emit(recent, happened, Output.TABLE, kind="EventList", name=str)


@app.command()
def edit(
    name: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")],
    address: Edited = None,
    port: Edited = None,
    user: Edited = None,
    jump: Edited = None,
    jump_host_key: Edited = None,
    profile: Edited = None,
    arch: Edited = None,
    timezone: Edited = None,
    latitude: Edited = None,
    longitude: Edited = None,
    notes: Edited = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change fields of one site. Host keys are changed by `site trust`, passwords by `site password`."""
    from edgemgr.app import open_app
    from edgemgr.inventory.site_edit import edit_site
    from edgemgr.settings import current_actor

    cells = {
        "address": address,
        "port": port,
        "user": user,
        "jump": jump,
        "jump_host_key": jump_host_key,
        "profile": profile,
        "arch": arch,
        "timezone": timezone,
        "latitude": latitude,
        "longitude": longitude,
        "notes": notes,
    }
    given = {column: text for column, text in cells.items() if text is not None}
    if not given:
        raise InventoryError(
            "nothing to change was named", hint="Add for example --address 192.0.2.10.", code="E-SITE-EDIT"
        )
    with open_app() as appliance:
        change = edit_site(appliance.database, appliance.vault, name, given, actor=current_actor(), dry_run=dry_run)
    _tell([change] if change else [], output, dry_run=dry_run)


@app.command()
def label(
    words: Annotated[
        list[str], typer.Argument(metavar="SITE|KEY=VALUE|KEY-", help="Sites, then labels; KEY- removes one.")
    ],
    selector: Labels = None,
    filter_: Filter = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Set or remove labels of sites."""
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.site_edit import label_sites
    from edgemgr.settings import current_actor

    names = [word for word in words if "=" not in word and (word == "-" or not word.endswith("-"))]
    labels: dict[str, str | None] = {}
    for word in words:
        if word not in names:
            key, is_set, value = word.partition("=")
            labels[key if is_set else key.removesuffix("-")] = value if is_set else None
    if not labels:
        raise InventoryError("no label was named", hint="Write KEY=VALUE, or KEY- to remove one.", code="E-SITE-EDIT")
    with open_app() as appliance:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, names, selector, filter_, every=False)]
        changes = label_sites(appliance.database, appliance.vault, ids, labels, actor=current_actor(), dry_run=dry_run)
    _tell(changes, output, dry_run=dry_run)


@app.command()
def delete(
    names: Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Names of sites.")] = None,
    selector: Labels = None,
    filter_: Filter = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Forget sites, with their secrets and operations. What runs there goes on. Asks first.

    Refused while an operation of one of them is running. To remove k3s, use `edgemgr reset` before. Their backups are
    kept for a while, apart: `edgemgr backup removed` lists them, and no new site of the same name takes them up.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites, confirm_sites
    from edgemgr.inventory.backup_removed import set_aside_removed
    from edgemgr.settings import current_actor
    from edgemgr.store import sites

    with open_app() as appliance:
        chosen = chosen_sites(appliance.database, names, selector, filter_, every=False)
        if not dry_run:
            if not yes:
                confirm_sites("this forgets", [name for _, name in chosen])
            with appliance.database.write() as session:
                sites.remove(session, [site_id for site_id, _ in chosen], actor=current_actor())
            # What a kill at this moment leaves behind, a worker sets aside.
            kept = set_aside_removed(appliance.database, appliance.settings.backup_dir, [name for _, name in chosen])
            if kept:
                typer.echo(f"backups of {len(kept)} of them are kept: `edgemgr backup removed`", err=True)
    sys.stdout.writelines(f"{name}\n" for _, name in chosen)
    typer.echo(f"{len(chosen)} sites {'would be' if dry_run else 'were'} deleted", err=True)


def _tell(changes: list[SiteChange], output: Output, *, dry_run: bool) -> None:
    if changes or output not in (Output.TABLE, Output.WIDE):
        emit(list(change_lines(changes)), CHANGE_COLUMNS, output, kind="SiteChangeList", name=lambda line: line.site)
    done = "would be changed" if dry_run else "changed"
    typer.echo(f"{len(changes)} site(s) {done}" if changes else "nothing to change", err=True)
