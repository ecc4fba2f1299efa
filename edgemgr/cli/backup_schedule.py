"""`edgemgr backup schedule`: how often the sites of a profile are backed up by themselves, and in which hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.duration import length_text, seconds
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import InventoryError, UsageError

if TYPE_CHECKING:
    from edgemgr.model.backup_schedule import BackupSchedule
    from edgemgr.store.backup_schedule_item import ScheduleItem

schedule = typer.Typer(
    help="How often sites are backed up by themselves, by their profile.", no_args_is_help=True, rich_markup_mode=None
)

ProfileArgument = Annotated[str, typer.Argument(metavar="PROFILE", help="Profile of the sites for which it holds.")]

_COLUMNS: tuple[Column[ScheduleItem], ...] = (
    Column("profile", lambda row: row.profile),
    Column("every", lambda row: length_text(row.interval_s) if row.interval_s else "off"),
    Column("within", lambda row: row.hours),
    Column("from", lambda row: row.source),
    Column("sites", lambda row: row.sites),
)


def register(app: typer.Typer) -> None:
    """Add the group to `edgemgr backup`."""
    app.add_typer(schedule, name="schedule")


@schedule.command("set")
def set_(
    profile: ProfileArgument,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="How often: 6h, 1d; 15m at the least.")
    ] = None,
    within: Annotated[
        str | None,
        typer.Option("--within", metavar="HOURS", help='Only then, such as "22:00-06:00" or "sat,sun 01:00-05:00".'),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="No backups of these sites by themselves.")] = False,
) -> None:
    """Say how often the sites of a profile are backed up by themselves, and in which hours.

    It takes the place of the setting backup_interval_s for them, and of an older schedule of that profile. The hours go
    by each site's own clock (its time zone, else UTC); what has not begun when they end is asked for again when they
    come. What an operator asks for goes by no schedule.
    """
    from edgemgr.app import open_app
    from edgemgr.settings import current_actor
    from edgemgr.store import backup_schedules

    wanted = _wanted(profile, every, within, off=off)
    with open_app() as appliance, appliance.database.write() as session:
        backup_schedules.put(session, wanted, actor=current_actor())
        near = backup_schedules.near_profiles(session, profile)
    typer.echo(f"backups of profile {profile}: {wanted.text}", err=True)
    if near is not None:
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        typer.echo(f"note: no site has the profile {profile} today{meant}", err=True)


@schedule.command("clear")
def clear(profile: ProfileArgument) -> None:
    """Let the setting backup_interval_s hold for the sites of a profile again."""
    from edgemgr.app import open_app
    from edgemgr.model.backup_schedule import every_text
    from edgemgr.settings import current_actor
    from edgemgr.store import backup_schedules

    with open_app() as appliance:
        with appliance.database.write() as session:
            backup_schedules.remove(session, profile, actor=current_actor())
        general = every_text(appliance.settings.backup_interval_s)
    typer.echo(f"backups of profile {profile}: {general}, by the general setting", err=True)


@schedule.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List how often sites are backed up by themselves, of each profile that sites have or that has a schedule.

    A last line is for the sites without a profile, if there are any. `off` means that nobody but an operator asks for
    backups there.
    """
    from edgemgr.app import open_app
    from edgemgr.store.backup_schedule_item import schedule_items

    with open_app() as appliance, appliance.database.read() as session:
        items = schedule_items(session, general_s=appliance.settings.backup_interval_s)
    emit(items, _COLUMNS, output, kind="BackupScheduleList", name=lambda row: row.profile or "-")


def _wanted(profile: str, every: str | None, within: str | None, *, off: bool) -> BackupSchedule:
    """What was asked for, held to the rules.

    Raises:
        UsageError, InventoryError: it breaks them.
    """
    from edgemgr.inventory import fields
    from edgemgr.inventory.field_fault import FieldFault
    from edgemgr.model.backup_schedule import BackupSchedule, checked_hours, checked_interval

    try:
        fields.profile(profile)
    except FieldFault as fault:
        raise InventoryError(
            f"{profile!r} cannot name a profile: {fault.message}", hint=fault.hint, code=fault.code
        ) from None
    if off and (every is not None or within is not None):
        raise UsageError(
            "--off goes with neither --every nor --within",
            hint="Leave one of them out.",
            code="E-BACKUP-SCHEDULE-CHOICE",
        )
    if off:
        return BackupSchedule(profile=profile, interval_s=0)
    if every is None:
        raise UsageError(
            "how often was not said", hint="Add for example --every 6h, or --off.", code="E-BACKUP-SCHEDULE-CHOICE"
        )
    hours = None if within is None else checked_hours(within)
    return BackupSchedule(profile=profile, interval_s=checked_interval(seconds(every)), hours=hours)
