"""What will break by itself, and when, for many sites at once. Asks nothing of any site, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgemgr.model.expiry import Expiry, expiries
from edgemgr.store import backup_schedules, care
from edgemgr.store.database import Database


@dataclass(frozen=True)
class ExpiryOutlook:
    """Everything that ends at the chosen sites, the next first, what nobody knows last."""

    rows: tuple[Expiry, ...]
    sites: int  #: with k3s
    bare: int  #: without it: nothing ends there


def expiry_outlook(
    database: Database,
    site_ids: Sequence[int],
    *,
    now: datetime,
    general_age: timedelta,
    backup_age: timedelta | None = None,
) -> ExpiryOutlook:
    """Look ahead for these sites.

    How old a site's newest backup may be is what the schedule of its profile says, or else `general_age`; for all of
    them `backup_age` if that is given.
    """
    with database.read() as session:
        facts = care.care_facts(session, site_ids)
        schedules = backup_schedules.by_profile(session)
    own = {profile: schedule.age for profile, schedule in schedules.items()}

    def age(profile: str | None) -> timedelta | None:
        return own.get(profile or "", general_age) if backup_age is None else backup_age

    rows = [row for each in facts for row in expiries(each, now, backup_age=age(each.profile))]
    rows.sort(key=lambda row: (row.at is None, row.at or now, row.site, row.what))
    with_k3s = sum(each.has_k3s for each in facts)
    return ExpiryOutlook(tuple(rows), with_k3s, len(facts) - with_k3s)
