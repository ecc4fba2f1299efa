"""Which bundles sites hold, as far as it was told: by stages that succeeded, and by receipts from a stick.

A node keeps what the bundle brought that came last, and the one before it (links/node_archive.py). A reset takes both
away. History that was pruned is forgotten here too: of a site's stages the newest is never pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Subquery, func, literal, or_, select, union_all
from sqlmodel import Session, col

from edgemgr.model.operation import Operation, OperationKind, OperationState
from edgemgr.model.site import Site
from edgemgr.model.work_order import WorkOrder, WorkOrderSite

#: So many bundles are kept on a node.
KEPT = 2


@dataclass(frozen=True)
class Holding:
    """A bundle whose content lies on a site's node."""

    bundle: str
    since: datetime
    by: str  #: `link` or `stick`


@dataclass(frozen=True)
class Holders:
    """The sites that hold a bundle."""

    sites: int
    names: tuple[str, ...]  #: the first of them


def holdings_of(session: Session, site_id: int) -> list[Holding]:
    """What a site holds, the newest first."""
    held = _held(site_id)
    rows = session.execute(select(held.c.bundle, held.c.at, held.c.by).order_by(held.c.place))
    return [Holding(bundle, at, by) for bundle, at, by in rows]


def holder_counts(session: Session) -> dict[str, int]:
    """Bundle → how many sites hold it."""
    held = _held()
    rows = session.execute(select(held.c.bundle, func.count().label("sites")).group_by(held.c.bundle))
    return {row.bundle: row.sites for row in rows}


def holder_ids(session: Session, bundle: str) -> set[int]:
    """The sites that hold a bundle."""
    held = _held()
    return set(session.execute(select(held.c.site_id).where(held.c.bundle == bundle)).scalars())


def holders_of(session: Session, bundle: str, *, limit: int) -> Holders:
    """The sites that hold a bundle: all of them counted, the first named."""
    held = _held()
    query: Select[*tuple[Any, ...]] = (
        select(col(Site.name).label("name"), func.count().over().label("sites"))
        .join(held, held.c.site_id == col(Site.id))
        .where(held.c.bundle == bundle)
        .order_by(col(Site.name))
        .limit(limit)
    )
    rows = session.execute(query).all()
    return Holders(rows[0].sites if rows else 0, tuple(row.name for row in rows))


def _held(site_id: int | None = None) -> Subquery:
    """(site_id, bundle, at, by, place) of what nodes keep; place 1 came last."""
    stages, receipts, resets = _stages(), _receipts(), _resets()
    if site_id is not None:
        stages = stages.where(col(Operation.site_id) == site_id)
        receipts = receipts.where(col(WorkOrderSite.site_id) == site_id)
        resets = resets.where(col(Operation.site_id) == site_id)
    came, cleared = union_all(stages, receipts).subquery(), resets.subquery()
    again = func.row_number().over(partition_by=[came.c.site_id, came.c.bundle], order_by=came.c.at.desc())
    latest = (
        select(came, again.label("again"))
        .outerjoin(cleared, cleared.c.site_id == came.c.site_id)
        .where(or_(cleared.c.at.is_(None), came.c.at > cleared.c.at))
        .subquery()
    )
    place = func.row_number().over(partition_by=latest.c.site_id, order_by=latest.c.at.desc())
    placed = (
        select(latest.c.site_id, latest.c.bundle, latest.c.at, latest.c.by, place.label("place"))
        .where(latest.c.again == 1)
        .subquery()
    )
    return select(placed).where(placed.c.place <= KEPT).subquery()


def _stages() -> Select[*tuple[Any, ...]]:
    return select(
        col(Operation.site_id).label("site_id"),
        col(Operation.params)["bundle"].as_string().label("bundle"),
        col(Operation.finished_at).label("at"),
        literal("link").label("by"),
    ).where(col(Operation.kind) == OperationKind.STAGE.value, col(Operation.state) == OperationState.SUCCEEDED.value)


def _receipts() -> Select[*tuple[Any, ...]]:
    return (
        select(
            col(WorkOrderSite.site_id),
            col(WorkOrder.bundle),
            func.coalesce(col(WorkOrderSite.staged_at), col(WorkOrderSite.received_at)),
            literal("stick"),
        )
        .join(WorkOrder, col(WorkOrder.id) == col(WorkOrderSite.order_id))
        .where(col(WorkOrderSite.received_at).is_not(None))
    )


def _resets() -> Select[*tuple[Any, ...]]:
    return (
        select(col(Operation.site_id).label("site_id"), func.max(col(Operation.finished_at)).label("at"))
        .where(col(Operation.kind) == OperationKind.RESET.value, col(Operation.state) == OperationState.SUCCEEDED.value)
        .group_by(col(Operation.site_id))
    )
