"""Stages as rows: what decides about a site's transfer, how far each has come, and waiting for windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, update
from sqlmodel import Session, col, or_, select

from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import TRANSFER_KINDS, Operation, OperationKind, WaitingFor
from edgemgr.model.release import Arch, arch_named
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.transfer import Transfer
from edgemgr.model.transfer_scope import SiteParts
from edgemgr.store.claim import take_turn
from edgemgr.store.open_operations import READY
from edgemgr.store.queries import in_chunks

#: So many of the first in line are held against their windows before a claim.
WINDOW_LIMIT = 1000


@dataclass(frozen=True)
class StageRow:
    """One site's latest stage: its operation, and its transfer as far as one was begun."""

    site_id: int
    site: str
    operation: Operation | None
    transfer: Transfer | None


def parts_of(session: Session, site_id: int) -> SiteParts:
    """The name and the labels of a site."""
    return _parts(session, [site_id])[site_id]


def arch_of(session: Session, site_id: int) -> Arch | None:
    """The architecture of a site as it was expected or observed; None when nobody knows."""
    wanted, seen = session.exec(
        select(Site.arch, Cluster.arch)
        .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
        .where(col(Site.id) == site_id)
    ).one()
    return arch_named(wanted or seen or "")


def seen_on(session: Session, site_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Architecture and k3s version as they were observed, "" for what was not; sites without a row are left out.

    An architecture has the name of `Arch`: a node may call 32-bit ARM armhf, as k3s does.
    """
    found: dict[int, tuple[str, str]] = {}
    for part in in_chunks(list(site_ids)):
        query = select(Cluster.site_id, Cluster.arch, Cluster.k3s_version).where(col(Cluster.site_id).in_(part))
        found |= {
            site_id: (arch_named(arch or "") or arch or "", version or "")
            for site_id, arch, version in session.exec(query)
        }
    return found


def installed_digests(session: Session, site_id: int) -> list[str]:
    """The files of the k3s versions that a site runs and that it is to run: its node keeps them."""
    versions = session.exec(
        select(Site.k3s_version, Cluster.k3s_version)
        .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
        .where(col(Site.id) == site_id)
    ).one()
    known = [version for version in versions if version]
    return list(session.exec(select(ReleaseFile.digest).where(col(ReleaseFile.version).in_(known))))


def transfer_of(session: Session, site_id: int, bundle: str) -> Transfer:
    """The transfer of a site, which from now on is one of this bundle; what its link can do stays known."""
    row = session.get(Transfer, site_id)
    if row is None:
        row = Transfer(site_id=site_id, bundle=bundle)
        session.add(row)
    row.bundle = bundle
    return row


def transfers_of(session: Session, site_ids: Sequence[int]) -> dict[int, Transfer]:
    """Site → its latest transfer."""
    found: dict[int, Transfer] = {}
    for part in in_chunks(list(site_ids)):
        rows = session.exec(select(Transfer).where(col(Transfer.site_id).in_(part))).all()
        found |= {row.site_id: row for row in rows}
    return found


def latest(session: Session, site_ids: Sequence[int]) -> list[StageRow]:
    """The latest stage of each of these sites that ever was asked for one, in the order of their names."""
    found: list[StageRow] = []
    for part in in_chunks(list(site_ids)):
        newest = (
            select(func.max(Operation.id))
            .where(col(Operation.site_id).in_(part), col(Operation.kind) == OperationKind.STAGE.value)
            .group_by(col(Operation.site_id))
        )
        rows = session.exec(
            select(Site.id, Site.name, Operation, Transfer)
            .outerjoin(Operation, (col(Operation.site_id) == col(Site.id)) & col(Operation.id).in_(newest))
            .outerjoin(Transfer, col(Transfer.site_id) == col(Site.id))
            .where(col(Site.id).in_(part), or_(col(Operation.id).is_not(None), col(Transfer.site_id).is_not(None)))
        ).all()
        found += [StageRow(site_id or 0, name, operation, transfer) for site_id, name, operation, transfer in rows]
    return sorted(found, key=lambda row: row.site)


def parts_of_all(session: Session, site_ids: Sequence[int]) -> dict[int, SiteParts]:
    """Site → its name and labels."""
    found: dict[int, SiteParts] = {}
    for part in in_chunks(list(site_ids)):
        found |= _parts(session, part)
    return found


def hold_back(session: Session, opens_at: Callable[[SiteParts], datetime], *, now: datetime) -> int:
    """Let the transfers that are first in line wait whose windows are closed; returns how many.

    `opens_at` tells when a site's window opens, `now` if it is open. No attempt is spent on them.
    """
    take_turn(session)
    rows = session.exec(
        select(Operation.id, Operation.site_id)
        .where(READY, col(Operation.kind).in_(TRANSFER_KINDS))
        .order_by(col(Operation.priority).desc(), col(Operation.turn), col(Operation.id))
        .limit(WINDOW_LIMIT)
    ).all()
    parts = parts_of_all(session, [site_id for _, site_id in rows])
    waiting: dict[datetime, list[int]] = {}
    for operation_id, site_id in rows:
        moment = opens_at(parts[site_id])
        if moment > now:
            waiting.setdefault(moment, []).append(operation_id or 0)
    for moment, ids in waiting.items():
        session.execute(
            update(Operation)
            .where(col(Operation.id).in_(ids), READY)
            .values(
                waiting_for=WaitingFor.WINDOW.value,
                not_before=moment,
                code="E-STAGE-WINDOW",
                message=f"its transfer window is closed until {moment:%Y-%m-%d %H:%M} UTC",
                hint="It goes on by itself when the window opens; `edgemgr stage window` changes it.",
            )
        )
    return sum(len(ids) for ids in waiting.values())


def _parts(session: Session, site_ids: Sequence[int]) -> dict[int, SiteParts]:
    labels: dict[int, dict[str, str]] = {}
    for row in session.exec(select(SiteLabel).where(col(SiteLabel.site_id).in_(site_ids))):
        labels.setdefault(row.site_id, {})[row.key] = row.value
    names = session.exec(select(Site.id, Site.name).where(col(Site.id).in_(site_ids))).all()
    return {site_id or 0: SiteParts(name, labels.get(site_id or 0, {})) for site_id, name in names}
