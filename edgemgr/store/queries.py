"""The read side of sites: filtered, sorted and cut into pages by the database, never in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

from sqlalchemy import Row, Select, and_, func, or_
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from edgemgr.errors import NotFoundError
from edgemgr.model.cluster import Cluster, Health, Reachability
from edgemgr.model.operation import ENDED_STATES, GOES_ON, Operation, OperationKind, OperationState
from edgemgr.model.selector import EVERY_SITE, Selector
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.update_status import CHANGING_KINDS, update_status
from edgemgr.store.open_operations import HEAD
from edgemgr.store.selectors import condition
from edgemgr.store.site_order import order

Item = TypeVar("Item")

#: Statements name at most this many rows: both databases limit the number of bound values.
CHUNK = 1000


@dataclass(frozen=True)
class SiteOperation:
    """The operation that explains what a site is doing or why it does not."""

    id: int
    kind: str
    state: str
    waiting_for: str
    code: str
    message: str


@dataclass(frozen=True)
class SiteRow:
    """One site as lists show it: what is wanted, what was observed, what is under way."""

    id: int
    name: str
    address: str
    port: int
    user: str
    labels: dict[str, str]
    trust: str
    host_key_fingerprint: str | None
    profile: str | None
    k3s_desired: str | None
    k3s_version: str | None
    reachability: str
    reachability_reason: str
    contact_at: datetime | None
    health: str
    health_reason: str
    observed_at: datetime | None
    update: str
    operation: SiteOperation | None
    jump: str | None
    arch: str | None
    timezone: str | None
    latitude: float | None
    longitude: float | None
    notes: str | None
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None = None
    paused_why: str = ""


def list_sites(
    session: Session,
    *,
    where: Selector = EVERY_SITE,
    sort: str = "name",
    limit: int | None = None,
    offset: int = 0,
) -> tuple[list[SiteRow], int]:
    """Read one page of sites, and how many there are on all pages together.

    Args:
        session: an open session.
        where: which sites.
        sort: one of `site_order.SORT_KEYS`, `-` before it for the other direction; names decide among equals.
        limit: how many at most; all without it.
        offset: how many to leave out at the beginning.

    Raises:
        UsageError: there is no such order.
        NotFoundError: `where` names a group that does not exist.
    """
    chosen = condition(session, where)
    count = core_select(func.count()).select_from(Site).outerjoin(Cluster).where(chosen)
    total = session.execute(count).scalar_one()
    page = _columns().where(chosen).order_by(order(session, sort), col(Site.name)).offset(offset).limit(limit)
    rows = session.execute(page).all()
    ids = [row.id for row in rows]
    labels, operations = labels_of(session, ids), _operations_of(session, ids)
    return [_site_row(row, labels.get(row.id, {}), operations.get(row.id, [])) for row in rows], total


def get_site(session: Session, name: str) -> Site:
    """Find the site of this name.

    Raises:
        NotFoundError: there is none; the hint tells the nearest names.
    """
    site = session.exec(select(Site).where(col(Site.name) == name)).first()
    if site is None:
        raise _unknown(session, [name])
    return site


def site_ids(session: Session, where: Selector) -> list[int]:
    """Pick sites by a selector, in the order of their names."""
    chosen = select(Site.id).outerjoin(Cluster).where(condition(session, where)).order_by(col(Site.name))
    return [site_id for site_id in session.exec(chosen) if site_id is not None]


def ids_of_names(session: Session, names: Sequence[str]) -> list[int]:
    """Find the sites of these names, in their order, each once.

    Raises:
        NotFoundError: some do not exist; all of them are named.
    """
    found: dict[str, int] = {}
    for part in in_chunks(names):
        for site in session.execute(core_select(col(Site.id), col(Site.name)).where(col(Site.name).in_(part))):
            found[site.name] = site.id
    unknown = [name for name in names if name not in found]
    if unknown:
        raise _unknown(session, unknown)
    return list(dict.fromkeys(found[name] for name in names))


def labels_of(session: Session, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Read labels by site, each site's in the order of their keys; sites without any are left out."""
    labels: dict[int, dict[str, str]] = {}
    for part in in_chunks(ids):
        chosen = select(SiteLabel.site_id, SiteLabel.key, SiteLabel.value).where(col(SiteLabel.site_id).in_(part))
        for site_id, key, value in session.exec(chosen.order_by(col(SiteLabel.site_id), col(SiteLabel.key))):
            labels.setdefault(site_id, {})[key] = value
    return labels


def in_chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Cut a sequence into pieces that one statement can name."""
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]


def _columns() -> Select[Any]:
    shown: tuple[Any, ...] = (
        Site.__table__,  # type: ignore[attr-defined]  # every table class has it
        col(Cluster.k3s_version).label("observed_version"),
        col(Cluster.arch).label("observed_arch"),
        Cluster.reachability,
        Cluster.reachability_reason,
        Cluster.contact_at,
        Cluster.health,
        Cluster.health_reason,
        Cluster.observed_at,
    )
    return core_select(*shown).select_from(Site).outerjoin(Cluster)


def _site_row(row: Row[Any], labels: dict[str, str], operations: list[Operation]) -> SiteRow:
    is_changing = any(
        op.kind in CHANGING_KINDS and op.is_head and (op.state == OperationState.RUNNING or op.code == GOES_ON)
        for op in operations
    )
    return SiteRow(
        id=row.id,
        name=row.name,
        address=row.address,
        port=row.port,
        user=row.user,
        labels=labels,
        trust=row.trust,
        host_key_fingerprint=row.host_key_fingerprint,
        profile=row.profile,
        k3s_desired=row.k3s_version,
        k3s_version=row.observed_version,
        reachability=row.reachability or Reachability.UNKNOWN.value,
        reachability_reason=row.reachability_reason or "",
        contact_at=row.contact_at,
        health=row.health or Health.UNKNOWN.value,
        health_reason=row.health_reason or "",
        observed_at=row.observed_at,
        update=update_status(wanted=row.k3s_version, observed=row.observed_version, is_changing=is_changing).value,
        operation=_telling(operations),
        jump=f"{row.jump_user}@{row.jump_address}:{row.jump_port}" if row.jump_address else None,
        arch=row.arch or row.observed_arch,
        timezone=row.timezone,
        latitude=row.latitude,
        longitude=row.longitude,
        notes=row.notes,
        created_at=row.created_at,
        updated_at=row.updated_at,
        paused_at=row.paused_at,
        paused_why=row.paused_why,
    )


def _operations_of(session: Session, ids: Sequence[int]) -> dict[int, list[Operation]]:
    """Read, by site, the head and the newest ended operation that is more than a look."""
    found: dict[int, list[Operation]] = {}
    for part in in_chunks(ids):
        # The index of a site's operations knows their kinds: passing over many looks reads no row of the table.
        newest = (
            core_select(col(Operation.id))
            .where(
                col(Operation.site_id) == col(Site.id),
                col(Operation.state).in_([state.value for state in ENDED_STATES]),
                col(Operation.kind) != OperationKind.PROBE.value,
            )
            .order_by(col(Operation.id).desc())
            .limit(1)
            .correlate(Site)
            .scalar_subquery()
        )
        ended = session.execute(core_select(newest).where(col(Site.id).in_(part))).scalars()
        chosen = or_(and_(col(Operation.site_id).in_(part), HEAD), col(Operation.id).in_([*filter(None, ended)]))
        for operation in session.exec(select(Operation).where(chosen)):
            found.setdefault(operation.site_id, []).append(operation)
    return found


def _telling(operations: list[Operation]) -> SiteOperation | None:
    """Choose what to show: what changes or checks the site, else what went wrong last, else a look in passing."""
    heads = [op for op in operations if op.is_head]
    failed = [op for op in operations if op.state in (OperationState.FAILED, OperationState.EXPIRED)]
    at_work = [op for op in heads if op.kind != OperationKind.PROBE]
    for op in (*at_work, *failed, *heads):
        return SiteOperation(op.id or 0, op.kind, op.state, op.waiting_for, op.code, op.message)
    return None


def _unknown(session: Session, names: Sequence[str]) -> NotFoundError:
    first = names[0]
    beginning = first[:2].replace("%", "").replace("_", "")
    candidates = session.exec(
        select(Site.name).where(col(Site.name).startswith(beginning, autoescape=True)).order_by(Site.name).limit(5000)
    ).all()
    near = get_close_matches(first, candidates, 3)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")  # noqa: PLR2004
    return NotFoundError(
        f"there is no site {shown}",
        hint=f"Did you mean {' or '.join(near)}?" if near else "See `edgemgr site list`.",
        code="E-SITE-UNKNOWN",
    )
