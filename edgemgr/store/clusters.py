"""Writes of Cluster; called by `status` alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update
from sqlmodel import Session, col

from edgemgr.model.cluster import Cluster, Reachability

#: Statements name at most this many rows: both databases limit the number of bound values.
_CHUNK = 2000


def of_site(session: Session, site_id: int) -> Cluster:
    """The observed state of a site, made at the first contact."""
    cluster = session.get(Cluster, site_id)
    if cluster is None:
        cluster = Cluster(site_id=site_id)
        session.add(cluster)
    return cluster


def reachability_of(session: Session, site_ids: Sequence[int]) -> dict[int, str]:
    """What is written of these sites; those without a row are left out."""
    found: dict[int, str] = {}
    for start in range(0, len(site_ids), _CHUNK):
        query = select(col(Cluster.site_id), col(Cluster.reachability)).where(
            col(Cluster.site_id).in_(site_ids[start : start + _CHUNK])
        )
        found.update((site_id, reachability) for site_id, reachability in session.execute(query))
    return found


def write_reached(session: Session, site_ids: Sequence[int], *, known: Collection[int], now: datetime) -> None:
    """Write that these answered, in the rows that are `known` or in new ones."""
    values = {
        "reachability": Reachability.REACHABLE.value,
        "reachability_reason": "",
        "tried_at": now,
        "contact_at": now,
    }
    _write(session, [{"site_id": site_id, **values} for site_id in site_ids], known)


def write_missed(session: Session, reasons: Mapping[int, str], *, known: Collection[int], now: datetime) -> None:
    """Write that these did not answer (site → why), in the rows that are `known` or in new ones."""
    values = {"reachability": Reachability.UNREACHABLE.value, "tried_at": now}
    _write(
        session, [{"site_id": site_id, "reachability_reason": why, **values} for site_id, why in reasons.items()], known
    )


def write_tried(session: Session, tried: Mapping[int, datetime]) -> None:
    """Write when sites were tried last."""
    table = Cluster.__table__  # type: ignore[attr-defined]
    statement = update(table).where(table.c.site_id == bindparam("site")).values(tried_at=bindparam("at"))
    session.connection().execute(statement, [{"site": site_id, "at": at} for site_id, at in tried.items()])


def _write(session: Session, rows: Sequence[Mapping[str, object]], known: Collection[int]) -> None:
    new = [row for row in rows if row["site_id"] not in known]
    old = [row for row in rows if row["site_id"] in known]
    if new:
        session.execute(insert(Cluster), new)
    if old:
        session.execute(update(Cluster), old)
