"""How full the disks of sites were; written by `status` alone."""

from __future__ import annotations

from sqlmodel import Session

from edgemgr.model.disk_history import DiskHistory


def of_site(session: Session, site_id: int) -> DiskHistory:
    """What is known of a site's disk, made at the first look."""
    history = session.get(DiskHistory, site_id)
    if history is None:
        history = DiskHistory(site_id=site_id)
        session.add(history)
    return history
