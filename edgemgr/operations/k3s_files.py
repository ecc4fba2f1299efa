"""The files of a k3s version as a playbook is told of them."""

from __future__ import annotations

from edgemgr.model.site import Site
from edgemgr.settings import Settings
from edgemgr.store import releases
from edgemgr.store.database import Session


def k3s_files(session: Session, version: str, site: Site, settings: Settings) -> list[dict[str, object]]:
    """Those of every architecture that the site may have: the node takes its own.

    Raises:
        NotFoundError: the version is not on this appliance.
    """
    return [
        {
            "part": file.part,
            "arch": file.arch,
            "name": file.name,
            "digest": file.digest,
            "size_bytes": file.size_bytes,
            "path": str(settings.release_dir / "sha256" / file.digest),
        }
        for file in releases.files_of(session, version)
        if site.arch in (None, file.arch)
    ]
