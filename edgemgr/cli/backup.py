"""`edgemgr backup`: take, list, look at, keep and prune what is needed to bring a cluster back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli import backup_rehearse, backup_removed, backup_restore, backup_schedule
from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, ask_for
from edgemgr.cli.output import Column, Output, OutputOption, emit, emit_one
from edgemgr.cli.size import size_text
from edgemgr.cli.token_words import token_words
from edgemgr.model.operation import OperationKind

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.store.backup_item import BackupItem

app = typer.Typer(
    help="Back clusters up, and bring them back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

BackupNumber = Annotated[int, typer.Argument(metavar="ID", help="Number of the backup; `edgemgr backup list` has it.")]

_COLUMNS: tuple[Column[BackupItem], ...] = (
    Column("id", lambda row: row.id),
    Column("site", lambda row: row.site),
    Column("taken", lambda row: row.taken_at),
    Column("pulled", lambda row: row.pulled_at, wide=True),
    Column("k3s", lambda row: row.k3s_version),
    Column("datastore", lambda row: row.datastore, wide=True),
    Column("size", lambda row: size_text(row.size_bytes)),
    Column("added", lambda row: size_text(row.added_bytes)),
    Column("held", lambda row: row.is_held),
    Column("number", lambda row: row.attempt, wide=True),
    Column("token", lambda row: token_words(row.token, is_present=row.has_present_token), wide=True),
    Column("digest", lambda row: row.digest, wide=True),
)


@dataclass(frozen=True)
class PartRow:
    """One file of a backup, with the datastore among them."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Whole:
    """One backup with what is in it."""

    id: int
    site: str
    taken_at: datetime
    pulled_at: datetime
    k3s_version: str
    datastore: str
    revision: int | None
    size_bytes: int
    added_bytes: int
    is_held: bool
    attempt: int
    digest: str
    token: int | None
    has_present_token: bool | None
    files: list[PartRow]


@dataclass(frozen=True)
class Pruned:
    """A backup that went, or would go."""

    id: int
    site: str
    taken_at: datetime
    size_bytes: int


_WHOLE: tuple[Column[Whole], ...] = (
    Column("backup", lambda row: row.id),
    Column("site", lambda row: row.site),
    Column("taken", lambda row: row.taken_at),
    Column("pulled", lambda row: row.pulled_at),
    Column("k3s", lambda row: row.k3s_version),
    Column("datastore", lambda row: row.datastore),
    Column("last change", lambda row: row.revision),
    Column("size", lambda row: size_text(row.size_bytes)),
    Column("added", lambda row: size_text(row.added_bytes)),
    Column("held", lambda row: row.is_held),
    Column("number", lambda row: row.attempt),
    Column("token", lambda row: token_words(row.token, is_present=row.has_present_token, is_long=True)),
    Column("digest", lambda row: row.digest),
    Column("files", lambda row: len(row.files)),
)
_PRUNED: tuple[Column[Pruned], ...] = (
    Column("id", lambda row: row.id),
    Column("site", lambda row: row.site),
    Column("taken", lambda row: row.taken_at),
    Column("size", lambda row: size_text(row.size_bytes)),
)


@app.command("run")
def run(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a backup on sites, keep it there, and bring it here.

    k3s goes on meanwhile. Two operations for each site: `backup` takes it, and once it has, `pull` brings what changed
    since the last one, encrypted, and reads every block back. With --wait both are waited for.
    """
    ask_for(
        OperationKind.BACKUP,
        {},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )


@app.command("list")
def list_(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    newest: Annotated[bool, typer.Option("--newest", help="Only the newest of each site.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the backups that are here.

    Of all sites unless some are chosen.
    """
    from edgemgr.app import open_app
    from edgemgr.store.backup_item import backup_items

    with open_app() as appliance:
        ids = _chosen(appliance, names, selector, filter_, every)
        with appliance.database.read() as session:
            items = backup_items(session, ids, newest_only=newest)
    emit(items, _COLUMNS, output, kind="BackupList", name=lambda row: str(row.id))


@app.command("show")
def show(number: BackupNumber, output: OutputOption = Output.TABLE) -> None:
    """Show one backup and, as JSON or YAML, every file in it."""
    from edgemgr.app import open_app
    from edgemgr.inventory.backup_store import open_store
    from edgemgr.store import backups, cluster_facts
    from edgemgr.store.backup_item import is_present

    with open_app() as appliance:
        with appliance.database.read() as session:
            row, site = backups.get(session, number)
            present = cluster_facts.tokens_of(session, [row.site_id]).get(row.site_id)
        with open_store(appliance.settings.backup_dir, appliance.vault, site) as store:
            manifest = store.manifest(row.digest)
    files = [PartRow(part.name, part.size_bytes, part.sha256) for part in manifest.parts if part.name != "files.tar"]
    files += [PartRow(file.name, file.size_bytes, file.sha256) for file in manifest.files]
    whole = Whole(
        id=row.id or 0,
        site=site,
        taken_at=row.taken_at,
        pulled_at=row.pulled_at,
        k3s_version=row.k3s_version,
        datastore=row.datastore,
        revision=manifest.revision,
        size_bytes=row.size_bytes,
        added_bytes=row.added_bytes,
        is_held=row.is_held,
        attempt=row.attempt,
        digest=row.digest,
        token=row.token,
        has_present_token=is_present(row.token, present),
        files=files,
    )
    emit_one(whole, _WHOLE, output, kind="Backup", name=lambda row: str(row.id))


@app.command("hold")
def hold(
    number: BackupNumber,
    off: Annotated[bool, typer.Option("--off", help="Let the rule of retention decide again.")] = False,
) -> None:
    """Keep a backup whatever its age, until --off."""
    from edgemgr.app import open_app
    from edgemgr.store import backups

    with open_app() as appliance, appliance.database.write() as session:
        row, site = backups.get(session, number)
        backups.hold(session, row.site_id, row.attempt, is_held=not off)
    typer.echo(f"backup {number} of {site} {'goes by the rule again' if off else 'is held'}")


@app.command("prune")
def prune(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would go, and change nothing.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove the backups that the settings no longer keep.

    Of all sites unless some are chosen. Each pull does so for its site by itself. The newest backups and those that are
    held stay. If no sites are chosen, the backups of sites that were removed long enough ago go too.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory import backup_pull
    from edgemgr.inventory.backup_shelf import rule_of, shelf_of
    from edgemgr.model.timestamp import utc_now
    from edgemgr.store.backup_item import backup_items
    from edgemgr.store.chosen_sites import names_of

    with open_app() as appliance:
        rule = rule_of(appliance.settings)
        shelf = shelf_of(appliance.database, appliance.vault, appliance.settings)
        ids = _chosen(appliance, names, selector, filter_, every)
        with appliance.database.read() as session:
            items = backup_items(session, ids)
            names_by_id = names_of(session, ids)
        gone: list[BackupItem] = []
        for site_id, site in names_by_id.items():
            own = [item for item in items if item.site == site]
            if dry_run:
                found = backup_pull.would_go(appliance.database, site_id, rule, utc_now()) if own else []
            elif own or (shelf.directory / site).is_dir():  # one that an operator has put back is noted so
                found = backup_pull.prune(shelf, site_id, site, rule)
            else:
                continue
            gone += [item for item in own if item.attempt in found]
        is_of_all = not (names or selector is not None or filter_ is not None or every)
        stores = backup_removed.drop_old(appliance, dry_run=dry_run) if is_of_all else []
    rows = [Pruned(item.id, item.site, item.taken_at, item.size_bytes) for item in gone]
    emit(rows, _PRUNED, output, kind="PrunedBackupList", name=lambda row: str(row.id))
    typer.echo(f"{len(rows)} backup(s) {'would go' if dry_run else 'removed'}", err=True)
    if stores:
        typer.echo(f"{len(stores)} store(s) of removed sites {'would go' if dry_run else 'removed too'}", err=True)


def _chosen(
    appliance: App, names: list[str] | None, selector: str | None, filter_: str | None, every: bool
) -> list[int]:
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.model.selector import EVERY_SITE
    from edgemgr.store import queries

    if names or selector is not None or filter_ is not None or every:
        return [site_id for site_id, _ in chosen_sites(appliance.database, names, selector, filter_, every)]
    with appliance.database.read() as session:
        return queries.site_ids(session, EVERY_SITE)


backup_removed.register(app)
backup_rehearse.register(app)
backup_restore.register(app)
backup_schedule.register(app)
