"""Certificates that nobody has to think of: sites whose leaves are due are asked to renew them, in their own hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from edgemgr.model.certificate_renewal import is_due
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.operations.submit import submit
from edgemgr.queue.hours import open_for_s
from edgemgr.settings import Settings
from edgemgr.store import care
from edgemgr.store.database import Database

ROUND_S = 600.0
#: At most so many sites are asked for in a round: they are restarted, so a fleet is not restarted at once.
LIMIT = 200
#: One that was asked for is not asked for again sooner, whatever became of it.
AGAIN_S = 20 * 3600.0
#: So long before the hours end nothing is begun any more: k3s has to be up again by then.
SPARE_S = 1800.0


def ask_for_renewals(database: Database, settings: Settings, now: datetime) -> int:
    """Queue a rotation for sites that are due and within their hours; it expires with them. Returns how many.

    Raises:
        StoreError: the database cannot be used.
    """
    if settings.renew_window is None:
        return 0
    with database.read() as session:
        facts = care.renewable(session, now - timedelta(seconds=AGAIN_S))
    due = sorted(
        (each for each in facts if is_due(each.certificate_at, now)),
        key=lambda each: (each.certificate_at or now, each.name),
    )
    zones = {each.timezone for each in due}
    lefts = {zone: open_for_s(settings.renew_window, zone, now, of="renew_window") for zone in zones}
    within = [each for each in due if (left := lefts[each.timezone]) is None or left > SPARE_S][:LIMIT]
    for zone in {each.timezone for each in within}:
        _ask(database, [each.site_id for each in within if each.timezone == zone], lefts[zone], now)
    return len(within)


def _ask(database: Database, site_ids: Sequence[int], left_s: float | None, now: datetime) -> None:
    with database.write() as session:
        submit(
            session,
            OperationKind.ROTATE_CERTIFICATES,
            {},
            site_ids,
            actor="schedule",
            priority=Priority.SCHEDULED,
            deadline_s=None if left_s is None else left_s - SPARE_S,
            now=now,
        )
