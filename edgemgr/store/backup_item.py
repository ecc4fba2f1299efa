"""Read side of backups: what lists and pages show of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from edgemgr.model.backup import Backup
from edgemgr.model.site import Site
from edgemgr.store import cluster_facts
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
    token: int | None  #: which server token it holds: the number of the attempt that made or first saw that one
    has_present_token: bool | None  #: whether that is the token that the site told last; None: not known

    @classmethod
    def of(cls, row: Backup, site: str, present: int | None) -> BackupItem:
        """The row with its site's name, and the token that the site has now."""
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
            token=row.token,
            has_present_token=is_present(row.token, present),
        )


def is_present(token: int | None, present: int | None) -> bool | None:
    """Whether two tokens are the same; None where one of them is not known."""
    return None if token is None or present is None else token == present


def backup_items(session: Session, site_ids: Sequence[int], *, newest_only: bool = False) -> list[BackupItem]:
    """The backups of these sites, by site, the newest first."""
    found: list[BackupItem] = []
    present = cluster_facts.tokens_of(session, site_ids)
    for part in in_chunks(site_ids):
        rows = session.exec(
            select(Backup, Site.name)
            .join(Site, col(Site.id) == col(Backup.site_id))
            .where(col(Backup.site_id).in_(part))
            .order_by(col(Backup.site_id), col(Backup.attempt).desc())
        ).all()
        found += [BackupItem.of(row, name, present.get(row.site_id)) for row, name in rows]
    found.sort(key=lambda item: item.site)  # stable: within a site they stay as they are
    if newest_only:
        found = list({item.site: item for item in reversed(found)}.values())[::-1]
    return found
