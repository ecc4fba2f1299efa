"""Hours in which something is done by itself at a site, by the site's own clock."""

from __future__ import annotations

import logging
from datetime import datetime

from edgemgr.errors import InventoryError
from edgemgr.model.window import Window

logger = logging.getLogger(__name__)


def open_for_s(hours: str, zone: str | None, now: datetime, *, of: str) -> float | None:
    """How long the hours last from now on, in seconds, 0 outside of them; None: they never end.

    Hours that cannot be read never come; the log says so, and `of` says there what they are of.
    """
    try:
        window = Window.parse(hours, zone)
    except InventoryError as exc:
        logger.error("%s: %s; %s", of, exc.message, exc.hint)  # noqa: TRY400 - its cause is in the message
        return 0.0
    if not window.is_open(now):
        return 0.0
    closes_at = window.changes_at(now)
    return None if closes_at is None else (closes_at - now).total_seconds()
