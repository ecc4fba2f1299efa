"""DiskHistory: how full a Site's disk was on the last days on which somebody looked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

#: So many days are kept, however far apart they are.
MOST_POINTS = 30
_DAY_S = 86400

#: (day since 1970, bytes in use then)
Point = tuple[int, int]


class DiskHistory(SQLModel, table=True):
    """One row per Site, one point per day. Written by `status` only."""

    __tablename__ = "disk_history"

    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE")
    points: list[list[int]] = Field(default_factory=list, sa_type=JSON)  #: ascending; see `Point`


def with_point(points: Sequence[Sequence[int]], at: datetime, used_bytes: int) -> list[list[int]]:
    """The points with one more; the last look of a day counts for it, and the oldest days go."""
    day = day_of(at)
    kept = [list(point) for point in points if point[0] < day]
    return [*kept, [day, used_bytes]][-MOST_POINTS:]


def day_of(at: datetime) -> int:
    """The number of a moment's day, counted from 1970 in UTC."""
    return int(at.timestamp() // _DAY_S)
