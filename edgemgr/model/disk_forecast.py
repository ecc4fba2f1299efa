"""When a disk will be too full for k3s, from how full it was. A pure rule.

A line through the middle of all slopes (Theil 1950, Sen 1968) and not one of least squares: the day on which a
release was staged, or images were cleared away, must not turn it. Up to three days in ten may be such days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from statistics import median

from edgemgr.model.disk_history import Point, day_of

#: Below this part of the disk the kubelet of k3s throws pods out (`eviction-hard` in k3s' pkg/daemons/agent:
#: imagefs.available<5%,nodefs.available<5%).
EVICTION_FREE = 0.05
#: Fewer days than this, or a shorter time from first to last, make no line.
LEAST_POINTS = 5
LEAST_SPAN_DAYS = 7
#: What lies farther away is not foretold: by then everything is different.
FARTHEST_DAYS = 5 * 365

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class DiskForecast:
    """`full_at` is None when it is not known (`why`), or when it does not fill up as far as one can see."""

    full_at: datetime | None
    growth_bytes_day: float | None = None  #: None: too little is known
    why: str = ""  #: why it is not known


def forecast(points: Sequence[Point], size_bytes: int, now: datetime) -> DiskForecast:
    """Foretell the day on which so little is free that pods are thrown out.

    Args:
        points: ascending by day.
        size_bytes: of the file system, as last seen.
        now: what is full already is full now, however long ago that was seen.
    """
    limit = size_bytes * (1.0 - EVICTION_FREE)
    if points and points[-1][1] >= limit:
        return DiskForecast(min(now, _moment(points[-1][0])))
    if len(points) < LEAST_POINTS:
        return DiskForecast(None, why=f"its use is known of {len(points)} days, {LEAST_POINTS} are needed")
    span = points[-1][0] - points[0][0]
    if span < LEAST_SPAN_DAYS:
        return DiskForecast(None, why=f"its use is known over {span} days, {LEAST_SPAN_DAYS} are needed")
    slope = median((used - before) / (day - earlier) for (earlier, before), (day, used) in combinations(points, 2))
    if slope <= 0:
        return DiskForecast(None, slope)
    base = median(used - slope * day for day, used in points)
    # By the line it may be full before it was last seen not to be: then it is full soon after that.
    day = max((limit - base) / slope, points[-1][0] + 1)
    return DiskForecast(None if day - day_of(now) > FARTHEST_DAYS else _moment(day), slope)


def _moment(day: float) -> datetime:
    return _EPOCH + timedelta(days=day)
