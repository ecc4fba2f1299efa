"""`edgemgr backup restore` and `rehearse`: bringing a cluster back, and proving that it could be."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, Yes, ask_for
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import NotFoundError
from edgemgr.model.operation import OperationKind

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.inventory.backup_rehearse import Rehearsal
    from edgemgr.model.backup import Backup

_REHEARSALS: tuple[Column[Rehearsal], ...] = (
    Column("site", lambda row: row.site),
    Column("backup", lambda row: row.id),
    Column("sound", lambda row: row.is_sound),
    Column("files", lambda row: row.files),
    Column("objects", lambda row: row.objects or None),
    Column("took", lambda row: f"{row.took_s:.1f} s", wide=True),
    Column("why", lambda row: "; ".join(row.faults)),
)


def register(app: typer.Typer) -> None:
    """Add the commands to `edgemgr backup`."""
    app.command("restore")(restore)
    app.command("rehearse")(rehearse)


def restore(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")],
    backup: Annotated[
        int | None,
        typer.Option("--backup", metavar="ID", help="Number of the backup; the newest of the site without it."),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a site's cluster back from a backup. Asks first.

    What the cluster has become since then is lost, volumes stay as they are, and workloads are restarted. An empty
    node that replaces the old one gets k3s in the version of the backup; its host key has to be pinned first, with
    `edgemgr site trust SITE --fingerprint SHA256:… --reason …`. If the backup does not come up, what was there before
    is put back.
    """
    from edgemgr.app import open_app

    with open_app() as appliance:
        row = _backup_of(appliance, site, backup)
    taken = f"{row.taken_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f"backup {row.id} of {site}, taken {taken}, k3s {row.k3s_version}", err=True)
    ask_for(
        OperationKind.RESTORE,
        {"backup": row.attempt, "digest": row.digest, "version": row.k3s_version},
        ([site], None, None, False),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
        confirm=None if yes else f"restore brings back the cluster as it was {taken}, and loses what came after, at",
    )


def rehearse(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Only so many of these sites, drawn at random.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that the newest backup of each site can be opened. Touches no site.

    Every block is decrypted and hashed, the datastore passes SQLite's quick check and ends with the change that it
    should, each file has its hash, certificates and manifests can be read. The backup is not started: for that,
    restore it to a spare node. Exit status 1 if one is not sound.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.backup_rehearse import rehearse as rehearse_one
    from edgemgr.store.backup_item import backup_items

    with open_app() as appliance:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, names, selector, filter_, every)]
        with appliance.database.read() as session:
            items = backup_items(session, ids, newest_only=True)
        if not items:
            raise _no_backup("any of these sites")
        if sample is not None and sample < len(items):
            items = sorted(random.SystemRandom().sample(items, sample), key=lambda item: item.site)
        found = [rehearse_one(appliance.settings, appliance.vault, item.site, item.id, item.digest) for item in items]
    emit(found, _REHEARSALS, output, kind="RehearsalList", name=lambda row: str(row.id))
    broken = sum(not row.is_sound for row in found)
    typer.echo(f"{len(found)} backup(s) opened, {broken} not sound", err=True)
    raise typer.Exit(1 if broken else 0)


def _backup_of(appliance: App, site: str, backup_id: int | None) -> Backup:
    from edgemgr.store import backups, queries

    with appliance.database.read() as session:
        (site_id,) = queries.ids_of_names(session, [site])
        found = backups.of_site(session, site_id)
        if not found:
            raise _no_backup(site)
        if backup_id is None:
            return found[0]
        for row in found:
            if row.id == backup_id:
                return row
        raise NotFoundError(
            f"this appliance holds no backup {backup_id} of site {site}",
            hint=f"`edgemgr backup list {site}` shows those that are here.",
            code="E-BACKUP-UNKNOWN",
        )


def _no_backup(whose: str) -> NotFoundError:
    return NotFoundError(
        f"this appliance holds no backup of {whose}",
        hint="Take one: `edgemgr backup run SITE --wait`.",
        code="E-BACKUP-NONE",
    )
