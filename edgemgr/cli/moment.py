"""Moments as people write them: a date, a date with a time, or how far away: 2h, 7d."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from edgemgr.cli.duration import seconds
from edgemgr.errors import UsageError


def past(text: str | None, now: datetime) -> datetime | None:
    """Read `2h` as two hours ago, `2026-11-01` or `2026-11-01T08:00` as what it says; UTC unless it has a zone.

    Raises:
        UsageError: it is none of these.
    """
    return _read(text, now, -1)


def future(text: str | None, now: datetime) -> datetime | None:
    """Read `2h` as in two hours; otherwise as `past`.

    Raises:
        UsageError: it is none of these.
    """
    return _read(text, now, 1)


def _read(text: str | None, now: datetime, direction: int) -> datetime | None:
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d+(\.\d+)?[smhd]", text.strip()):
            return now + direction * timedelta(seconds=seconds(text))
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as exc:
        raise UsageError(
            f"{text!r} is no moment",
            hint="Write a distance such as 15m, 2h or 7d, a date such as 2026-11-01, or 2026-11-01T08:00 (UTC).",
            code="E-USAGE-MOMENT",
        ) from exc
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
