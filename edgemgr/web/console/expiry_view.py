"""What will break by itself, as its page shows it: the rows of `edgemgr expiry`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgemgr.inventory.expiry_outlook import expiry_outlook
from edgemgr.model.expiry import Expiry, ExpiryKind
from edgemgr.model.selector import EVERY_SITE
from edgemgr.settings import Settings
from edgemgr.store import queries
from edgemgr.store.database import Database

#: Rows that are shown; the rest is counted.
SHOWN = 200
#: How far ahead one may look, in days.
SPANS = (30, 90, 365, 3650)


@dataclass(frozen=True)
class ExpiryLine:
    """One end, beside the present."""

    row: Expiry
    days: int  #: below 0: it is past


@dataclass(frozen=True)
class ExpiryView:
    """What the page shows."""

    lines: Sequence[ExpiryLine]
    total: int
    within_days: int
    sites: int  #: with k3s
    unknown: Sequence[tuple[str, int]]  #: of what nothing is known, and at how many sites
    spans: Sequence[int] = SPANS


def read_expiry(database: Database, settings: Settings, within_days: int, now: datetime) -> ExpiryView:
    """Look ahead for the whole fleet."""
    with database.read() as session:
        ids = queries.site_ids(session, EVERY_SITE)
    outlook = expiry_outlook(database, ids, now=now, general_age=settings.backup_age)
    ahead = now + timedelta(days=within_days)
    lines = [ExpiryLine(row, (row.at - now).days) for row in outlook.rows if row.at is not None and row.at <= ahead]
    counts = Counter(row.what for row in outlook.rows if row.at is None)
    unknown = [(kind.value, counts[kind]) for kind in ExpiryKind if counts[kind]]
    return ExpiryView(lines[:SHOWN], len(lines), within_days, outlook.sites, unknown)
