"""`edgemgr backup restore`: bringing a cluster back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.ask import Deadline, DryRun, Timeout, Wait, Yes, ask_for
from edgemgr.cli.output import Output, OutputOption
from edgemgr.errors import NotFoundError
from edgemgr.model.operation import OperationKind

if TYPE_CHECKING:
    from edgemgr.app import App
    from edgemgr.model.backup import Backup


def register(app: typer.Typer) -> None:
    """Add the command to `edgemgr backup`."""
    app.command("restore")(restore)


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
    is put back. A backup of before a rotation of the server token brings the old token back.
    """
    from edgemgr.app import open_app
    from edgemgr.store.backup_item import is_present

    with open_app() as appliance:
        row = _backup_of(appliance, site, backup)
        present = _present_token(appliance, row.site_id)
    taken = f"{row.taken_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(f"backup {row.id} of {site}, taken {taken}, k3s {row.k3s_version}", err=True)
    if is_present(row.token, present) is False:
        typer.echo("it holds another server token than the site has now, and brings that one back with it", err=True)
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


def _present_token(appliance: App, site_id: int) -> int | None:
    from edgemgr.store import cluster_facts

    with appliance.database.read() as session:
        return cluster_facts.tokens_of(session, [site_id]).get(site_id)


def _backup_of(appliance: App, site: str, backup_id: int | None) -> Backup:
    from edgemgr.store import backups, queries

    with appliance.database.read() as session:
        (site_id,) = queries.ids_of_names(session, [site])
        found = backups.of_site(session, site_id)
        if not found:
            raise no_backup(site)
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


def no_backup(whose: str) -> NotFoundError:
    """There is none here."""
    return NotFoundError(
        f"this appliance holds no backup of {whose}",
        hint="Take one: `edgemgr backup run SITE --wait`.",
        code="E-BACKUP-NONE",
    )
