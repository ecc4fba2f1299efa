"""Certificates that nobody has to think of: sites whose leaves are due are asked to renew them, in their own hours."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from edgemgr.errors import InventoryError
from edgemgr.model.certificate_renewal import is_due
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.window import Window
from edgemgr.operations.submit import submit
from edgemgr.settings import Settings
from edgemgr.store import care
from edgemgr.store.database import Database

logger = logging.getLogger(__name__)

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
    lefts = {zone: open_for_s(settings.renew_window, zone, now) for zone in {each.timezone for each in due}}
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


def open_for_s(hours: str, zone: str | None, now: datetime) -> float | None:
    """How long the hours last from now on, in seconds, 0 outside of them; None: they never end."""
    try:
        window = Window.parse(hours, zone)
    except InventoryError as exc:
        logger.error("renew_window: %s; %s", exc.message, exc.hint)  # noqa: TRY400 - its cause is in the message
        return 0.0
    if not window.is_open(now):
        return 0.0
    closes_at = window.changes_at(now)
    return None if closes_at is None else (closes_at - now).total_seconds()
