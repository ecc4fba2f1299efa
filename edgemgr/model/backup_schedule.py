"""BackupSchedule: how often the Sites of a Profile are backed up by themselves, and in which hours. Pure rules."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from sqlmodel import Field, SQLModel

from edgemgr.errors import UsageError
from edgemgr.model.upgrade_window import longest_s
from edgemgr.model.window import Window

#: No oftener: each backup reads the node's whole datastore and writes it to the same disk, often a card; one that
#: failed is tried again after pauses of up to so long; and a node keeps only a few, which have to come here meanwhile.
SHORTEST_S = 900
LONGEST_S = 365 * 86400
_WEEK_S = 7 * 86400
_HOUR_S = 3600


class BackupSchedule(SQLModel, table=True):
    """What holds for the Sites of a Profile instead of the setting `backup_interval_s`."""

    __tablename__ = "backup_schedule"

    profile: str = Field(primary_key=True)
    interval_s: int  #: 0: none by themselves
    hours: str | None = None  #: as `Window.parse` reads them, by each site's own clock; None: at any time

    @property
    def text(self) -> str:
        """What it says, for people: `every 6 h within sat,sun 01:00-05:00`."""
        return every_text(self.interval_s) + (f" within {self.hours}" if self.hours else "")

    @property
    def age(self) -> timedelta | None:
        """How old a site's newest backup may be: one may be missed; None where there need not be any."""
        if not self.interval_s:
            return None
        return timedelta(seconds=2 * longest_gap_s(self.interval_s, Window.parse(self.hours or "", None)))


def every_text(interval_s: float) -> str:
    """An interval between backups, for people: `every 6 h`, `every 30 min`."""
    if not interval_s:
        return "none by themselves"
    return f"every {interval_s / _HOUR_S:g} h" if interval_s >= _HOUR_S else f"every {interval_s / 60:g} min"


def checked_interval(interval_s: float) -> int:
    """An interval that can be kept, in whole seconds.

    Raises:
        UsageError: it is too short or too long (E-BACKUP-SCHEDULE-INTERVAL).
    """
    if not SHORTEST_S <= interval_s <= LONGEST_S:
        raise UsageError(
            f"{interval_s:.0f} s between two backups is too {'short' if interval_s < SHORTEST_S else 'long'} a time",
            hint="Write 15m at least, for each backup reads and writes the node's whole datastore, and 365d at most;"
            " or --off.",
            code="E-BACKUP-SCHEDULE-INTERVAL",
        )
    return int(interval_s)


def checked_hours(text: str) -> str | None:
    """Hours as they are kept; None where they are all of the week.

    Raises:
        InventoryError: it is no window (E-WINDOW).
        UsageError: they never last long enough for a backup (E-BACKUP-SCHEDULE-HOURS).
    """
    window = Window.parse(text, None)
    if not window.spans:
        return None
    if longest_s(window) < SHORTEST_S:
        raise UsageError(
            f"the hours {text} are over too soon",
            hint="Give 15 minutes at a time at least, and more to many sites: 50 are asked for in a minute.",
            code="E-BACKUP-SCHEDULE-HOURS",
        )
    return " ".join(text.lower().split())


def longest_gap_s(interval_s: float, window: Window) -> float:
    """The longest time from one backup to the next if none is missed, in seconds; hours may let one wait for days.

    By the wall clock: an hour more or less on the days on which the clocks change.
    """
    spans = [(start * 60, end * 60) for start, end in window.spans]
    waits = [0.0]
    if spans:
        next_week = (spans[0][0] + _WEEK_S, spans[0][1] + _WEEK_S)
        for (_, closes), (opens, _) in pairwise([*spans, next_week]):
            # Of those that fall due between these hours, the one that falls due first waits longest for the next.
            first_due_s = closes + _until_open_s(spans, (closes - interval_s) % _WEEK_S)
            waits.append(opens - first_due_s)
    return interval_s + max(waits)


def _until_open_s(spans: list[tuple[int, int]], at_s: float) -> float:
    """From a second of the week on: how long until the hours come, 0 within them."""
    starts = [start for start, end in spans if at_s < end]
    return max(0.0, (min(starts) if starts else spans[0][0] + _WEEK_S) - at_s)
