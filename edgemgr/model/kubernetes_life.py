"""Until when each minor version of Kubernetes gets fixes. k3s makes releases of a minor as long as upstream does.

Source: kubernetes.io/releases and its data/releases/eol.yaml and schedule.yaml, as of 2026-11. Upstream gives a minor
twelve months of fixes and two of maintenance; what is not here is not known, and is not guessed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from edgemgr.model.version import K3sVersion

#: minor version of Kubernetes 1 → the day on which its support ends, or ended
END_OF_LIFE: dict[int, date] = {
    17: date(2021, 1, 13),
    18: date(2021, 6, 18),
    19: date(2021, 10, 28),
    20: date(2022, 2, 28),
    21: date(2022, 6, 28),
    22: date(2022, 12, 8),
    23: date(2023, 2, 28),
    24: date(2023, 7, 28),
    25: date(2023, 10, 28),
    26: date(2024, 2, 28),
    27: date(2024, 7, 16),
    28: date(2024, 10, 22),
    29: date(2025, 2, 28),
    30: date(2025, 7, 15),
    31: date(2025, 11, 11),
    32: date(2026, 2, 28),
    33: date(2026, 6, 28),
    34: date(2026, 10, 27),
    35: date(2027, 2, 28),
    36: date(2027, 6, 28),
    37: date(2027, 10, 28),
}


def end_of_life(version: K3sVersion) -> datetime | None:
    """The end of that day in UTC; None for a minor that is not in the table."""
    day = END_OF_LIFE.get(version.minor) if version.major == 1 else None
    return None if day is None else datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
