"""Window: the hours of the week in which something may be done at a site, in the site's own time zone. A pure rule.

The site's wall clock decides, so daylight saving time needs no rule of its own: hours that a change of the clocks
skips are no part of any window, hours that come twice are part of it twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgemgr.errors import InventoryError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60
_WEEK_MIN = 7 * _DAY_MIN
#: No pattern of a week stays without a change for longer, though a change of the clocks swallow one of its windows.
_LOOK_AHEAD = timedelta(days=16)
_HOURS = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)?(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2})")
_HINT = "Write for example `22:00-06:00` or `mon-fri 22:00-06:00; sat,sun 00:00-24:00`."


@dataclass(frozen=True)
class Window:
    """Hours of the week; none at all means that it is always open.

    `spans` are (first minute, minute after the last) of the week from Monday 00:00, ascending, not touching, within it.
    """

    spans: tuple[tuple[int, int], ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, timezone: str | None) -> Window:
        """Read `[DAYS] HH:MM-HH:MM; …`; an end that is not after its start lies on the following day.

        Raises:
            InventoryError: the text is no window (E-WINDOW), the time zone is not known (E-WINDOW-ZONE).
        """
        try:
            zone = ZoneInfo(timezone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise InventoryError(
                f"there is no time zone {timezone!r}", hint="Write one such as Europe/Berlin.", code="E-WINDOW-ZONE"
            ) from exc
        minutes: set[int] = set()
        for part in filter(None, (each.strip() for each in text.lower().split(";"))):
            minutes |= _minutes(part)
        return cls(_spans(minutes), zone)

    def is_open(self, at: datetime) -> bool:
        """Whether something may be done at that moment."""
        local = at.astimezone(self.zone)
        minute = local.weekday() * _DAY_MIN + local.hour * 60 + local.minute
        return not self.spans or any(start <= minute < end for start, end in self.spans)

    def changes_at(self, after: datetime) -> datetime | None:
        """The next moment at which it opens or closes, in UTC; None: it stays as it is."""
        now = self.is_open(after)
        last = after.astimezone(UTC)
        while last < after + _LOOK_AHEAD:
            # Within one offset from UTC the local time runs evenly, so that a change can be computed.
            upto = self._offset_changes_at(last)
            found = self._border(last, upto, now=now)
            if found is not None:
                return found
            if self.is_open(upto) != now:
                return upto
            last = upto
        return None

    def opens_at(self, after: datetime) -> datetime | None:
        """The moment itself if it is open then, or else the next at which it opens; None: never."""
        return after if self.is_open(after) else self.changes_at(after)

    def _border(self, start: datetime, end: datetime, *, now: bool) -> datetime | None:
        """The first border between `start` and `end`, between which the offset from UTC is the same."""
        local = start.astimezone(self.zone)
        midnight = start - timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        midnight -= timedelta(microseconds=local.microsecond)
        monday = midnight - timedelta(days=local.weekday())
        for week in range(4):
            for span in self.spans:
                found = monday + timedelta(minutes=span[1 if now else 0] + week * _WEEK_MIN)
                if start < found < end and self.is_open(found) != now:
                    return found
        return None

    def _offset_changes_at(self, after: datetime) -> datetime:
        """The next moment at which the offset from UTC changes, to the second; not beyond some weeks."""
        end = after + _LOOK_AHEAD
        steps = [after + timedelta(hours=6) * number for number in range(_LOOK_AHEAD // timedelta(hours=6) + 1)]
        for low, high in pairwise(steps):
            if self._offset(low) != self._offset(high):
                return self._first_with_another_offset(low, high)
        return end

    def _first_with_another_offset(self, low: datetime, high: datetime) -> datetime:
        before = self._offset(low)
        low = low.replace(microsecond=0)
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if self._offset(middle) == before else (low, middle)
        return high.replace(microsecond=0)

    def _offset(self, at: datetime) -> timedelta | None:
        return at.astimezone(self.zone).utcoffset()


def all_open_at(windows: Sequence[Window], after: datetime) -> datetime:
    """The moment itself if all are open then, or else the next at which they are.

    Windows that are never open together give a moment some weeks ahead, at which it is worth to ask again.
    """
    at = after
    while at < after + _LOOK_AHEAD:
        latest = max((window.opens_at(at) or at for window in windows), default=at)
        if latest == at:
            return at
        at = latest
    return at


def _minutes(part: str) -> set[int]:
    match = _HOURS.fullmatch(part)
    if match is None:
        raise InventoryError(f"{part!r} is no window", hint=_HINT, code="E-WINDOW")
    start, end = _minute(match["from"], part), _minute(match["to"], part)
    length = end - start if end > start else end - start + _DAY_MIN
    first = [day * _DAY_MIN + start for day in _days(match["days"], part)]
    return {(each + number) % _WEEK_MIN for each in first for number in range(length)}


def _minute(text: str, part: str) -> int:
    hour, minute = (int(each) for each in text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY_MIN:  # noqa: PLR2004 - minutes of an hour
        raise InventoryError(f"{text} in {part!r} is no time of day", hint=_HINT, code="E-WINDOW")
    return hour * 60 + minute


def _days(text: str | None, part: str) -> list[int]:
    found = []
    for each in (text or "mon-sun").split(","):
        first, _, last = each.partition("-")
        if first not in DAYS or (last or first) not in DAYS or each.endswith("-"):
            raise InventoryError(f"{each!r} in {part!r} is no day of the week", hint=_HINT, code="E-WINDOW")
        start, end = DAYS.index(first), DAYS.index(last or first)
        found += [(start + number) % 7 for number in range((end - start) % 7 + 1)]
    return found


def _spans(minutes: set[int]) -> tuple[tuple[int, int], ...]:
    """Join minutes to spans. All of them, or none, is no restriction."""
    if len(minutes) == _WEEK_MIN:
        return ()
    starts = sorted(minute for minute in minutes if minute - 1 not in minutes)
    ends = sorted(minute + 1 for minute in minutes if minute + 1 not in minutes)
    return tuple(zip(starts, ends, strict=True))
