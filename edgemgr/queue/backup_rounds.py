"""Backups that nobody has to ask for: each site with k3s by the schedule of its profile, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from edgemgr.model.backup_schedule import BackupSchedule
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.operations.submit import submit
from edgemgr.queue.hours import open_for_s
from edgemgr.settings import Settings
from edgemgr.store import backup_schedules
from edgemgr.store.backup_schedule_dues import ScheduledSites, due_sites, take_turn, zones_of
from edgemgr.store.database import Database, Session

#: At most so many are asked for in a round, so that a fleet spreads by itself: 10,000 sites in a good three hours.
LIMIT = 50
ROUND_S = 60.0
#: So long before hours end none is asked for any more: it would hardly have its turn.
SPARE_S = 300.0

_NEVER = datetime.min.replace(tzinfo=UTC)


def ask_for_backups(database: Database, settings: Settings, now: datetime) -> int:
    """Queue a backup for sites that answer and whose last one was asked for an interval ago; returns how many.

    One that failed is not asked for sooner: it was tried several times, and `edgemgr expiry` shows the site. One that
    is asked for within hours expires with them.

    Raises:
        StoreError: the database cannot be used.
    """
    with database.read() as session:
        askable = list(_askable(session, settings, now))
    if not askable:
        return 0
    with database.write() as session:
        take_turn(session)
        found = [
            (each.asked_at or _NEVER, each.site_id, sites.left_s(each.timezone))
            for sites in askable
            for each in due_sites(session, sites, now=now, limit=LIMIT)
        ]
        chosen = sorted(found, key=lambda each: each[:2])[:LIMIT]  # who waits longest, whatever the profile
        for left_s in dict.fromkeys(left_s for _, _, left_s in chosen):
            submit(
                session,
                OperationKind.BACKUP,
                {},
                [site_id for _, site_id, its_s in chosen if its_s == left_s],
                actor="schedule",
                priority=Priority.BACKGROUND,
                deadline_s=left_s,
                now=now,
            )
    return len(chosen)


def _askable(session: Session, settings: Settings, now: datetime) -> Iterator[ScheduledSites]:
    """What may be asked for now: nothing of a profile that is off or outside of its hours."""
    own = backup_schedules.by_profile(session)
    for schedule in own.values():
        lasts = _lasts(session, schedule, now) if schedule.hours else None
        if schedule.interval_s and (lasts is None or lasts):
            yield ScheduledSites(schedule.interval_s, schedule.profile, lasts=lasts)
    if settings.backup_interval_s:
        yield ScheduledSites(settings.backup_interval_s, others=tuple(own))


def _lasts(session: Session, schedule: BackupSchedule, now: datetime) -> dict[str | None, float | None]:
    """Time zone of sites of the profile → how long the hours last there, where they do."""
    of = f"the backup schedule of profile {schedule.profile}"
    zones = zones_of(session, schedule.profile)
    lasts = {zone: open_for_s(schedule.hours or "", zone, now, of=of) for zone in zones}
    return {zone: left_s for zone, left_s in lasts.items() if left_s is None or left_s > SPARE_S}
