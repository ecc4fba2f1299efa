"""Backup schedules as they are shown: one line for each profile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func
from sqlmodel import Session, col, select

from edgemgr.model.backup_schedule import BackupSchedule, every_text
from edgemgr.model.site import Site
from edgemgr.store import backup_schedules


class Source(StrEnum):
    """Where it is from how often sites are backed up."""

    SCHEDULE = "schedule"  #: the profile's own
    SETTING = "setting"  #: `backup_interval_s`


@dataclass(frozen=True)
class ScheduleItem:
    """What holds for the sites of one profile."""

    profile: str | None  #: None: the sites that have none
    interval_s: float  #: 0: off
    hours: str | None
    source: Source
    sites: int


def schedule_items(session: Session, *, general_s: float) -> list[ScheduleItem]:
    """Of every profile that sites have or that has a schedule, by name; last, of sites without a profile if there are.

    `general_s` is the interval of those that have no schedule.
    """
    own = backup_schedules.by_profile(session)
    counts = dict(session.exec(select(Site.profile, func.count()).group_by(col(Site.profile))).all())
    names: list[str | None] = [*sorted({*own, *(name for name in counts if name is not None)})]
    return [
        _item(name, own.get(name or ""), counts.get(name, 0), general_s)
        for name in (*names, *([None] if None in counts else []))
    ]


def _item(profile: str | None, own: BackupSchedule | None, sites: int, general_s: float) -> ScheduleItem:
    if own is None:
        return ScheduleItem(profile, general_s, None, Source.SETTING, sites)
    return ScheduleItem(profile, float(own.interval_s), own.hours, Source.SCHEDULE, sites)


def schedule_text(session: Session, profile: str | None, *, general_s: float) -> str:
    """What holds for a site of this profile, and why, in a few words."""
    own = session.get(BackupSchedule, profile) if profile else None
    return f"{every_text(general_s)} (general setting)" if own is None else f"{own.text} (profile {profile})"
