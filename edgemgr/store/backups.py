"""Reads and writes of the backups that the appliance holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlmodel import Session, col, delete, func, select

from edgemgr.errors import NotFoundError
from edgemgr.model.backup import Backup
from edgemgr.model.site import Site
from edgemgr.store.queries import in_chunks


def add(session: Session, backup: Backup) -> None:
    """Note a backup that is whole in the store."""
    session.add(backup)


def of_site(session: Session, site_id: int) -> list[Backup]:
    """The backups of a site, newest first."""
    query = select(Backup).where(Backup.site_id == site_id).order_by(col(Backup.attempt).desc())
    return list(session.exec(query))


def find(session: Session, site_id: int, attempt: int) -> Backup | None:
    """The backup that an attempt took; None when it is not here."""
    return session.exec(select(Backup).where(Backup.site_id == site_id, Backup.attempt == attempt)).one_or_none()


def hold(session: Session, site_id: int, attempt: int, *, is_held: bool) -> bool:
    """Keep a backup whatever its age, or no longer; False when there is none."""
    backup = find(session, site_id, attempt)
    if backup is not None:
        backup.is_held = is_held
        session.add(backup)
    return backup is not None


def get(session: Session, backup_id: int) -> tuple[Backup, str]:
    """A backup by its number on this appliance, and the name of its site.

    Raises:
        NotFoundError: there is none (E-BACKUP-UNKNOWN).
    """
    row = session.exec(
        select(Backup, Site.name).join(Site, col(Site.id) == col(Backup.site_id)).where(Backup.id == backup_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"this appliance holds no backup {backup_id}",
            hint="`edgemgr backup list` shows those that are here.",
            code="E-BACKUP-UNKNOWN",
        )
    return row


def owners(session: Session, names: Collection[str]) -> dict[str, str]:
    """Site → what tells it from an earlier or a later one of its name; sites that there are not are left out."""
    found: dict[str, str] = {}
    for part in in_chunks(sorted(names)):
        rows = session.exec(select(Site.name, Site.id, Site.created_at).where(col(Site.name).in_(part)))
        found.update({name: f"{site_id} {created_at.isoformat()}" for name, site_id, created_at in rows})
    return found


def drop(session: Session, site_id: int, attempts: Collection[int]) -> None:
    """Forget backups whose bytes are gone."""
    for part in in_chunks(sorted(attempts)):
        session.exec(delete(Backup).where(col(Backup.site_id) == site_id, col(Backup.attempt).in_(part)))


def newest(session: Session, site_ids: Sequence[int]) -> dict[int, datetime]:
    """Site → when its newest backup came here; sites without one are left out."""
    found: dict[int, datetime] = {}
    for part in in_chunks(site_ids):
        query = (
            select(Backup.site_id, func.max(col(Backup.pulled_at)))
            .where(col(Backup.site_id).in_(part))
            .group_by(col(Backup.site_id))
        )
        found.update(dict(session.exec(query).all()))
    return found
