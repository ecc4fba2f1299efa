"""`edgemgr backup removed`: the backups of sites that were removed, and their end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.cli.size import size_text

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.inventory.backup_removed import RemovedBackup, RemovedStore

_COLUMNS: tuple[Column[RemovedBackup], ...] = (
    Column("site", lambda row: row.site),
    Column("removed", lambda row: row.removed_at),
    Column("taken", lambda row: row.taken_at),
    Column("k3s", lambda row: row.k3s_version),
    Column("size", lambda row: size_text(row.size_bytes)),
    Column("digest", lambda row: row.digest, wide=True),
    Column("place", lambda row: row.place, wide=True),
)


def register(app: typer.Typer) -> None:
    """Add the command to `edgemgr backup`."""
    app.command("removed")(removed)


def removed(output: OutputOption = Output.TABLE) -> None:
    """List the backups of sites that were removed.

    They are kept as long as a backup may become old, counted from the removal, and no new site of the same name takes
    them up. -o wide shows where they lie.
    """
    from edgemgr.app import open_app
    from edgemgr.errors import EdgemgrError
    from edgemgr.inventory.backup_removed import removed_backups, removed_stores, set_aside_removed

    rows: list[RemovedBackup] = []
    unreadable = 0
    with open_app() as appliance:
        directory = appliance.settings.backup_dir
        set_aside_removed(appliance.database, directory)
        for store in removed_stores(directory):
            try:
                rows += sorted(removed_backups(store, appliance.vault), key=lambda row: row.taken_at, reverse=True)
            except EdgemgrError as exc:
                typer.echo(f"{exc.message} [{exc.code}]", err=True)
                unreadable += 1
    emit(rows, _COLUMNS, output, kind="RemovedBackupList", name=lambda row: row.digest)
    raise typer.Exit(1 if unreadable else 0)


def drop_old(appliance: App, *, dry_run: bool) -> list[RemovedStore]:
    """Remove those that were kept long enough; gives them."""
    from edgemgr.inventory.backup_removed import drop_expired, set_aside_removed
    from edgemgr.model.timestamp import utc_now

    settings = appliance.settings
    if not dry_run:
        set_aside_removed(appliance.database, settings.backup_dir)
    max_age = timedelta(seconds=settings.backup_max_age_s)
    return drop_expired(settings.backup_dir, max_age, utc_now(), dry_run=dry_run)
