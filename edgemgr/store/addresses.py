"""Where sites are tried before an attempt, in one statement for all of a claim."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.site import DEFAULT_PORT, Site, Trust

#: Who answered so many seconds ago is taken to be there still.
AWAKE_S = 10.0


@dataclass(frozen=True)
class Address:
    """Where a site, or the host on the way to it, answers without a login."""

    address: str
    port: int
    is_jump: bool
    is_pinned: bool  #: False: whether it may be entered at all is to be said first
    is_awake: bool  #: the site itself answered within the last AWAKE_S


def addresses(session: Session, site_ids: Collection[int], *, now: datetime) -> dict[int, Address]:
    """The addresses of sites; one that is no more is missing."""
    query = (
        select(
            col(Site.id),
            col(Site.address),
            col(Site.port),
            col(Site.jump_address),
            col(Site.jump_port),
            col(Site.trust),
            col(Cluster.reachability),
            col(Cluster.contact_at),
        )
        .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
        .where(col(Site.id).in_(site_ids))
    )
    lately = now - timedelta(seconds=AWAKE_S)
    found = {}
    for site_id, address, port, jump, jump_port, trust, reachability, contact_at in session.execute(query):
        found[site_id] = Address(
            address=jump or address,
            port=(jump_port or DEFAULT_PORT) if jump else port,
            is_jump=jump is not None,
            is_pinned=trust == Trust.PINNED,
            is_awake=reachability == Reachability.REACHABLE and lately <= contact_at <= now,
        )
    return found
