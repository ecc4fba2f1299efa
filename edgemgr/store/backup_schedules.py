"""Backup schedules of profiles: their rows."""

from __future__ import annotations

from difflib import get_close_matches

from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError
from edgemgr.model.backup_schedule import BackupSchedule
from edgemgr.model.event import Reason
from edgemgr.model.site import Site
from edgemgr.store import events


def by_profile(session: Session) -> dict[str, BackupSchedule]:
    """Profile → its schedule, of all that have one, in the order of their names."""
    return {row.profile: row for row in session.exec(select(BackupSchedule).order_by(col(BackupSchedule.profile)))}


def put(session: Session, schedule: BackupSchedule, *, actor: str) -> None:
    """Give a profile a schedule, or another one. It holds from the next round on; what was asked for stays asked."""
    before = session.get(BackupSchedule, schedule.profile)
    instead = "" if before is None else f", instead of {before.text}"
    session.merge(schedule)
    _tell(session, schedule.profile, f"{schedule.text}{instead}", actor)


def remove(session: Session, profile: str, *, actor: str) -> None:
    """Let the general setting hold for a profile again.

    Raises:
        NotFoundError: it has no schedule of its own (E-BACKUP-SCHEDULE-UNKNOWN).
    """
    found = session.get(BackupSchedule, profile)
    if found is None:
        near = get_close_matches(profile, by_profile(session), 1)
        raise NotFoundError(
            f"the profile {profile} has no backup schedule of its own",
            hint=f"Did you mean {near[0]}?" if near else "`edgemgr backup schedule list` shows those that have one.",
            code="E-BACKUP-SCHEDULE-UNKNOWN",
        )
    session.delete(found)
    _tell(session, profile, f"by the general setting, instead of {found.text}", actor)


def near_profiles(session: Session, profile: str) -> list[str] | None:
    """None where some site has this profile; otherwise the profiles in use that are nearest to it."""
    if session.exec(select(Site.id).where(col(Site.profile) == profile).limit(1)).first() is not None:
        return None
    used = session.exec(select(Site.profile).where(col(Site.profile).is_not(None)).distinct()).all()
    return get_close_matches(profile, [name for name in used if name], 2)


def _tell(session: Session, profile: str, what: str, actor: str) -> None:
    events.record(session, Reason.BACKUP_SCHEDULE_CHANGED, f"backups of profile {profile}: {what}", actor=actor)
