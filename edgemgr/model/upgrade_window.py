"""When an upgrade may begin: within its hours, and with time left in them for every hop. Pure rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from edgemgr.model.upgrade import HOP_DEADLINE_S
from edgemgr.model.window import Window

_WEEK_MIN = 7 * 24 * 60
#: Hours that are never long enough are asked about again after so long.
_NEVER = timedelta(days=14)


def longest_s(window: Window) -> float:
    """How long a window stays open at a time at most, in seconds, as the wall clock counts them."""
    if not window.spans:
        return math.inf
    lengths = [end - start for start, end in window.spans]
    first, last = window.spans[0], window.spans[-1]
    if first[0] == 0 and last[1] == _WEEK_MIN:  # open over the end of the week
        lengths.append(lengths[0] + lengths[-1])
    return max(lengths) * 60.0


def open_for_s(hours: str | None, zones: Iterable[str | None]) -> Mapping[str | None, float]:
    """Time zone → how long the hours last at a time there, in seconds; nothing if it may begin at any time.

    Raises:
        InventoryError: the hours are no window (E-WINDOW), or a time zone is not known (E-WINDOW-ZONE).
    """
    return {} if hours is None else {zone: longest_s(Window.parse(hours, zone)) for zone in zones}


def begins_at(window: Window, now: datetime, hops: int) -> datetime:
    """The moment itself if all hops at their deadline fit into the hours from then on, or else the next such one."""
    needed = timedelta(seconds=hops * HOP_DEADLINE_S)
    at = now
    while at < now + _NEVER:
        opens = window.opens_at(at)
        if opens is None:
            break
        closes = window.changes_at(opens)
        if closes is None or closes - opens >= needed:
            return opens
        at = closes
    return now + _NEVER
