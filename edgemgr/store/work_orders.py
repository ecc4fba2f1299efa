"""Reads and writes of work orders and of what sites confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, delete, select

from edgemgr.model.cluster import Cluster
from edgemgr.model.site import Site
from edgemgr.model.work_order import WorkOrder, WorkOrderSite
from edgemgr.store.queries import in_chunks


@dataclass(frozen=True)
class OrderLine:
    """One site of one order, as lists show it."""

    order: int
    site: str
    bundle: str
    arch: str
    state: str  #: `owed` or `staged`
    staged_at: datetime | None  #: by the node's clock, where it can be right
    received_at: datetime | None
    received_by: str
    blobs: int  #: files that lie there by this order
    copied_bytes: int
    ordered_at: datetime
    ordered_by: str


def add(session: Session, order: WorkOrder) -> int:
    """Begin an order; returns its number."""
    session.add(order)
    session.flush()
    return order.id or 0


def put_sites(session: Session, sites: Sequence[WorkOrderSite]) -> None:
    """Note which sites an order is for."""
    session.add_all(sites)


def find(session: Session, number: int) -> WorkOrder | None:
    """The order of that number; None when there is none."""
    return session.get(WorkOrder, number)


def note_written(session: Session, number: int, now: datetime) -> None:
    """From now on the order is listed."""
    order = session.get_one(WorkOrder, number)
    order.written_at = now
    session.add(order)


def drop(session: Session, number: int) -> None:
    """Forget an order that was not written."""
    session.exec(delete(WorkOrderSite).where(col(WorkOrderSite.order_id) == number))
    session.exec(delete(WorkOrder).where(col(WorkOrder.id) == number))


def sites_with_arch(session: Session, ids: Sequence[int]) -> list[tuple[Site, str | None]]:
    """Sites with the architecture that they are said to have, or were seen with; None when nobody knows."""
    found: list[tuple[Site, str | None]] = []
    for part in in_chunks(ids):
        rows = session.exec(select(Site, Cluster.arch).outerjoin(Cluster).where(col(Site.id).in_(part)))
        found += [(site, site.arch or seen) for site, seen in rows]
    return found


def site_of(session: Session, number: int, site_name: str) -> tuple[WorkOrderSite, Site] | None:
    """A site of an order, locked against another import of the same receipt; None when it is none of the order's."""
    found = session.exec(
        select(WorkOrderSite, Site)
        .join(Site, col(Site.id) == col(WorkOrderSite.site_id))
        .where(WorkOrderSite.order_id == number, Site.name == site_name)
        .with_for_update(of=WorkOrderSite)
    ).one_or_none()
    return None if found is None else (found[0], found[1])


def lines(session: Session, *, order: int | None = None, site: str | None = None) -> list[OrderLine]:
    """Sites of the orders that were written: the newest order first, then by name."""
    query = (
        select(WorkOrderSite, WorkOrder, Site.name)
        .join(WorkOrder, col(WorkOrder.id) == col(WorkOrderSite.order_id))
        .join(Site, col(Site.id) == col(WorkOrderSite.site_id))
        .where(col(WorkOrder.written_at).is_not(None))
        .order_by(col(WorkOrder.id).desc(), col(Site.name))
    )
    if order is not None:
        query = query.where(col(WorkOrder.id) == order)
    if site is not None:
        query = query.where(Site.name == site)
    return [_line(row, written, name) for row, written, name in session.exec(query)]


def _line(row: WorkOrderSite, order: WorkOrder, name: str) -> OrderLine:
    return OrderLine(
        order=row.order_id,
        site=name,
        bundle=order.bundle,
        arch=row.arch,
        state="staged" if row.received_at else "owed",
        staged_at=row.staged_at,
        received_at=row.received_at,
        received_by=row.received_by,
        blobs=len(order.content.get(row.arch, [])),
        copied_bytes=row.copied_bytes,
        ordered_at=order.created_at,
        ordered_by=order.created_by,
    )
