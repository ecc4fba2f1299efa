"""Upgrades that wait for their hours: those that nobody has tried yet are not begun outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, select, update
from sqlmodel import Session, col

from edgemgr.errors import EdgemgrError
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation, OperationKind, WaitingFor
from edgemgr.model.site import Site
from edgemgr.model.upgrade_window import begins_at
from edgemgr.model.version import K3sVersion
from edgemgr.model.window import Window
from edgemgr.store.open_operations import READY

#: Why it waits, also where the node was asked and has not begun.
CODE = "E-UPGRADE-CLOSED"
HINT = "It begins by itself when its hours come; `edgemgr operation cancel` gives it up."
#: So many that are alike are let wait at once.
ALIKE_LIMIT = 2000
#: What cannot be read is looked at again after so long.
_UNREADABLE = timedelta(hours=1)

_hours = col(Operation.params)["window"].as_string()
_goal = col(Operation.params)["version"].as_string()
#: Which of those that were tried has begun, the node alone knows.
_UNTRIED: tuple[ColumnElement[bool], ...] = (
    col(Operation.kind) == OperationKind.UPGRADE.value,
    col(Operation.attempts) == 0,
    _hours.is_not(None),
)


def hold_back(session: Session, picked: Sequence[int], now: datetime) -> int:
    """Let those of the picked wait whose hours have not come, with all that are ready and alike; returns how many.

    A claim that has picked nothing of the kind pays one look at what it has picked. No attempt is spent.
    """
    alike = session.execute(
        select(_hours, _goal, col(Site.timezone), col(Cluster.k3s_version))
        .distinct()
        .join(Site, col(Site.id) == col(Operation.site_id))
        .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
        .where(col(Operation.id).in_(picked), *_UNTRIED)
    ).all()
    count = 0
    for hours, goal, timezone, installed in alike:
        moment = next_moment(hours, timezone, now, installed=installed, goal=goal)
        if moment <= now:
            continue
        ids = session.execute(_ready_and_alike(hours, goal, timezone, installed)).scalars().all()
        session.execute(
            update(Operation)
            .where(col(Operation.id).in_(ids))
            .values(waiting_for=WaitingFor.WINDOW.value, not_before=moment, code=CODE, message=told(moment), hint=HINT)
        )
        count += len(ids)
    return count


def _ready_and_alike(hours: str, goal: str, timezone: str | None, installed: str | None) -> Select[int | None]:
    """Those for which the same moment holds, but for what another transaction is changing."""
    sites = (
        select(col(Site.id))
        .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
        .where(col(Site.timezone).is_not_distinct_from(timezone))
        .where(col(Cluster.k3s_version).is_not_distinct_from(installed))
    )
    return (
        select(col(Operation.id))
        .where(READY, *_UNTRIED, _hours == hours, _goal == goal, col(Operation.site_id).in_(sites))
        .limit(ALIKE_LIMIT)
        .with_for_update(skip_locked=True)
    )


def next_moment(hours: str, timezone: str | None, now: datetime, *, installed: str | None, goal: str) -> datetime:
    """The moment itself or the next at which an upgrade may begin, by the site's own clock."""
    try:
        minors = K3sVersion.parse(goal).minor - K3sVersion.parse(installed or goal).minor
        return begins_at(Window.parse(hours, timezone), now, max(minors, 1))
    except EdgemgrError:  # the site's time zone was changed to one that this machine does not know
        return now + _UNREADABLE


def told(moment: datetime) -> str:
    """The sentence."""
    return f"its hours begin at {moment:%Y-%m-%d %H:%M} UTC"
