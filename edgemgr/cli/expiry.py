"""`edgemgr expiry`: what will break by itself, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.ask import Filter, Labels, Names
from edgemgr.cli.duration import seconds
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.model.expiry import Expiry, ExpiryKind

if TYPE_CHECKING:
    from edgemgr.inventory.expiry_outlook import ExpiryOutlook


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("expiry")(expiry)


def expiry(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    within: Annotated[str, typer.Option("--within", help="How far to look ahead: 30d, 365d.")] = "90d",
    what: Annotated[list[ExpiryKind] | None, typer.Option("--what", help="Only this; may be repeated.")] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="Show also what nobody knows, and why.")] = False,
    backup_age: Annotated[
        str | None,
        typer.Option(
            "--backup-age",
            help="How old a site's newest backup may be; else twice the time between two by its schedule.",
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what will break by itself, and when.

    Certificates, CAs, fixes for the version of Kubernetes, full disks, backups that are too old. All sites, unless
    some are chosen. Computed from what was last told of each, so sites that are rarely reached are
    here too; the last column says how old that is. Asks nothing of any site.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.expiry_outlook import expiry_outlook
    from edgemgr.model.timestamp import utc_now

    ahead, now = timedelta(seconds=seconds(within)), utc_now()
    with open_app() as appliance:
        age = None if backup_age is None else timedelta(seconds=seconds(backup_age))
        is_fleet = not names and selector is None and filter_ is None
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, names, selector, filter_, is_fleet)]
        general = appliance.settings.backup_age
        outlook = expiry_outlook(appliance.database, ids, now=now, general_age=general, backup_age=age)
    kinds = what or list(ExpiryKind)
    rows = [row for row in outlook.rows if row.what in kinds]
    due = [row for row in rows if row.at is not None and row.at - now <= ahead]
    dark = [row for row in rows if row.at is None]
    emit([*due, *(dark if unknown else [])], _columns(now), output, kind="ExpiryList", name=_name)
    typer.echo(summary(outlook, due, dark, within, now), err=True)


def summary(outlook: ExpiryOutlook, due: Sequence[Expiry], dark: Sequence[Expiry], within: str, now: datetime) -> str:
    """One line: how much is due at how many sites, and of how much nobody knows."""
    over = sum(row.at is not None and row.at <= now for row in due)
    told = f"{len(due)} within {within} at {len({row.site for row in due})} of {outlook.sites} site(s), {over} over"
    counts = Counter(row.what for row in dark)
    parts = [told, f"not known: {', '.join(f'{kind} {counts[kind]}' for kind in ExpiryKind if counts[kind])}"]
    return "; ".join(parts if dark else parts[:1]) + (f"; {outlook.bare} without k3s" if outlook.bare else "")


def _columns(now: datetime) -> tuple[Column[Expiry], ...]:
    return (
        Column("at", lambda row: f"{row.at:%Y-%m-%d}" if row.at else "unknown"),
        Column("left", lambda row: None if row.at is None else left(row.at, now)),
        Column("site", lambda row: row.site),
        Column("what", lambda row: row.what),
        Column("detail", lambda row: row.detail),
        Column("told", lambda row: row.told_at),
    )


def left(at: datetime, now: datetime) -> str:
    """How long until then, in days, or hours below two of them; `over` for what is past."""
    hours = int((at - now).total_seconds() // 3600)
    if hours < 0:
        return "over"
    return f"{hours // 24}d" if hours >= 48 else f"{hours}h"  # noqa: PLR2004 - two days


def _name(row: Expiry) -> str:
    return f"{row.site}/{row.what}"
