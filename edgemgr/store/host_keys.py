"""Questions about host keys that concern more than one site, or what happened before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, or_, select

from edgemgr.model.cluster import Cluster
from edgemgr.model.event import Event, Reason
from edgemgr.model.selector_text import parse_filter
from edgemgr.model.site import Group, Site
from edgemgr.store.selectors import condition

#: How the event of a pin that nobody looked at names its actor; the name of the group follows.
FIRST_USE_ACTOR = "first-use:"


def holders(session: Session, *, fingerprint: str, key_line: str | None, besides: int) -> Sequence[str]:
    """List the sites, other than `besides`, that are pinned to this key or showed it.

    One key on two sites means copied disks: each of them could pose as the other.
    """
    same = [col(Site.host_key_fingerprint) == fingerprint]
    if key_line is not None:
        same.append(col(Site.host_key_seen) == key_line)
    query = select(Site.name).where(or_(*same), col(Site.id) != besides).order_by(col(Site.name)).limit(5)
    return session.exec(query).all()


def first_use_group(session: Session, site_id: int, now: datetime) -> str | None:
    """Name a group of this site that trusts the first key it sees at this time; None, as a rule.

    Raises:
        SelectorError: the selector of such a group cannot be read.
    """
    open_groups = select(Group).where(col(Group.trust_first_use_until) > now).order_by(col(Group.name))
    for group in session.exec(open_groups).all():
        members = condition(session, parse_filter(group.selector))
        if session.exec(select(Site.id).outerjoin(Cluster).where(col(Site.id) == site_id, members)).first():
            return group.name
    return None


def pinned_on_first_use(session: Session, site_id: int) -> bool:
    """Tell whether the pin in force was set by first use, so that no operator ever compared the key."""
    newest = (
        select(Event.actor)
        .where(col(Event.site_id) == site_id, col(Event.reason) == Reason.HOST_KEY_PINNED.value)
        .order_by(col(Event.id).desc())
        .limit(1)
    )
    actor = session.exec(newest).first()
    return actor is not None and actor.startswith(FIRST_USE_ACTOR)
