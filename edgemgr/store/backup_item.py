"""Read side of backups: what lists and pages show of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from edgemgr.model.backup import Backup
from edgemgr.model.site import Site
from edgemgr.store.queries import in_chunks


@dataclass(frozen=True)
class BackupItem:
    """One backup that this appliance holds."""

    id: int
    site: str
    taken_at: datetime  #: by the node's clock
    pulled_at: datetime
    k3s_version: str
    datastore: str
    size_bytes: int
    added_bytes: int
    is_held: bool
    attempt: int  #: its number on the node
    digest: str

    @classmethod
    def of(cls, row: Backup, site: str) -> BackupItem:
        """The row with its site's name."""
        return cls(
            id=row.id or 0,
            site=site,
            taken_at=row.taken_at,
            pulled_at=row.pulled_at,
            k3s_version=row.k3s_version,
            datastore=row.datastore,
            size_bytes=row.size_bytes,
            added_bytes=row.added_bytes,
            is_held=row.is_held,
            attempt=row.attempt,
            digest=row.digest,
        )


def backup_items(session: Session, site_ids: Sequence[int], *, newest_only: bool = False) -> list[BackupItem]:
    """The backups of these sites, by site, the newest first."""
    found: list[BackupItem] = []
    for part in in_chunks(site_ids):
        rows = session.exec(
            select(Backup, Site.name)
            .join(Site, col(Site.id) == col(Backup.site_id))
            .where(col(Backup.site_id).in_(part))
            .order_by(col(Backup.site_id), col(Backup.attempt).desc())
        ).all()
        found += [BackupItem.of(row, name) for row, name in rows]
    found.sort(key=lambda item: item.site)  # stable: within a site they stay as they are
    if newest_only:
        found = list({item.site: item for item in reversed(found)}.values())[::-1]
    return found
