"""`edgemgr backup rehearse`: proving on this appliance that backups can be read, and that k3s starts on them."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.ask import All, Filter, Labels, Names
from edgemgr.cli.bars import step_bar
from edgemgr.cli.duration import seconds
from edgemgr.cli.output import Column, Output, OutputOption, emit

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.inventory.backup_rehearse import Rehearsal, Start
    from edgemgr.store.backup_item import BackupItem

_REHEARSALS: tuple[Column[Rehearsal], ...] = (
    Column("site", lambda row: row.site),
    Column("backup", lambda row: row.id),
    Column("sound", lambda row: row.is_sound),
    Column("starts", lambda row: row.starts),
    Column("after", lambda row: None if row.start_s is None else f"{row.start_s:.1f} s"),
    Column("files", lambda row: row.files),
    Column("objects", lambda row: row.objects or None),
    Column("listed", lambda row: ", ".join(f"{count} {name}" for name, count in row.listed.items()), wide=True),
    Column("took", lambda row: f"{row.took_s:.1f} s", wide=True),
    Column("code", lambda row: row.code, wide=True),
    Column("why", lambda row: "; ".join(row.faults)),
)


def register(app: typer.Typer) -> None:
    """Add the command to `edgemgr backup`."""
    app.command("rehearse")(rehearse)


def rehearse(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Only so many of these sites, drawn at random.")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Open and read the backups, and start none of them.")
    ] = False,
    start_timeout: Annotated[
        str, typer.Option("--start-timeout", help="How long k3s is given until its API is ready: 90s, 5m.")
    ] = "3m",
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that the newest backup of each site starts. Touches no site.

    Every block is decrypted and hashed, the datastore passes SQLite's quick check and ends with the change that it
    should, each file has its hash, certificates and manifests can be read. Then k3s of the backup's version, as a
    server without an agent, is started on the files here, shut off from every network: its API has to answer as the
    same cluster, and to give its objects, secrets as well. One after the other; nothing of it stays. Exit status 1 if
    one is not sound, or was not seen to start.
    """
    from edgemgr.app import open_app
    from edgemgr.inventory.backup_rehearse import rehearse as rehearse_one
    from edgemgr.inventory.rehearsal_start import starting

    start_timeout_s = seconds(start_timeout)
    with open_app() as appliance:
        items = _drawn(appliance, (names, selector, filter_, every), sample)
        settings, vault = appliance.settings, appliance.vault
        found: list[Rehearsal] = []
        ready: AbstractContextManager[Start | None] = nullcontext()
        if not check_only:
            ready = starting(settings, appliance.database, start_timeout_s=start_timeout_s)
        with ready as start, step_bar(len(items)) as show:
            for item in items:
                show(item.site)
                found.append(rehearse_one(settings, vault, item.site, item.id, item.digest, start=start))
    emit(found, _REHEARSALS, output, kind="RehearsalList", name=lambda row: str(row.id))
    _sum_up(found, check_only=check_only)


def _drawn(
    appliance: App, choice: tuple[list[str] | None, str | None, str | None, bool], sample: int | None
) -> list[BackupItem]:
    from edgemgr.cli.backup_restore import no_backup
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.store.backup_item import backup_items

    ids = [site_id for site_id, _ in chosen_sites(appliance.database, *choice)]
    with appliance.database.read() as session:
        items = backup_items(session, ids, newest_only=True)
    if not items:
        raise no_backup("any of these sites")
    if sample is not None and sample < len(items):
        items = sorted(random.SystemRandom().sample(items, sample), key=lambda item: item.site)
    return list(items)


def _sum_up(found: list[Rehearsal], *, check_only: bool) -> None:
    """How many there were, on stderr; the exit status."""
    unsound = sum(not row.is_sound for row in found)
    told = f"{len(found)} backup(s) opened, {unsound} not sound"
    if not check_only:
        told += f", {sum(row.starts is True for row in found)} started"
    typer.echo(told, err=True)
    for hint in sorted({row.hint for row in found if row.hint}):
        typer.echo(f"hint: {hint}", err=True)
    is_well = not unsound if check_only else all(row.is_proven for row in found)
    raise typer.Exit(0 if is_well else 1)
