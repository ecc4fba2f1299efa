"""The queue as its page shows it: the counts of `edgemgr queue status`, in words and with links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from edgemgr.model.operation import WaitingFor
from edgemgr.settings import Settings
from edgemgr.store.database import Session
from edgemgr.store.paused_sites import PausedSite, paused_sites
from edgemgr.store.queue_status import QueueStatus, Waiting, queue_status

#: Rows of a table that are shown; the rest is counted.
SHOWN = 12
#: Of what runs, the oldest: they are the ones to look at.
OLDEST = 8

_WORDS = {
    "turn": "a worker",
    "contact": "contact with the site",
    "backoff": "the next try",
    "resume": "the site to be resumed",
    "window": "their transfer windows",
}


@dataclass(frozen=True)
class WaitingLine:
    """Sites that wait for the same thing."""

    words: str
    sites: int
    oldest_at: datetime | None
    next_at: datetime | None
    detail: str
    url: str  #: the list of these operations; empty where no list has just them


@dataclass(frozen=True)
class QueueView:
    """What the page shows."""

    status: QueueStatus
    most: int  #: operations that may run at once in the whole appliance
    waiting: Sequence[WaitingLine]
    paused: Sequence[PausedSite]
    paused_total: int
    shown: int = SHOWN


def read_queue(session: Session, settings: Settings, now: datetime) -> QueueView:
    """The queue as it is now."""
    status = queue_status(session, max_running=settings.max_running, now=now, oldest=OLDEST)
    paused, total = paused_sites(session, limit=SHOWN)
    most = next((use.most for use in status.limits if use.scope == "all"), settings.max_running)
    return QueueView(status, most, [_line(item, status) for item in status.waiting], paused, total)


def _line(item: Waiting, status: QueueStatus) -> WaitingLine:
    detail, url = "", ""
    if item.reason == "limit":
        words = f"room within {item.subject}"
        detail = next((f"{use.running} of {use.most} run" for use in status.limits if use.scope == item.subject), "")
    elif item.reason == "zone":
        words = f"a worker for {item.subject}"
        detail = "none serves it"
    else:
        words = _WORDS[item.reason]
        url = f"/operations?{urlencode({'waiting_for': WaitingFor(item.reason).value})}"
    return WaitingLine(words, item.sites, item.oldest_at, item.next_at, detail, url)
