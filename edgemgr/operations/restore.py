"""restore: bring a cluster back from a backup, on its node or on an empty one that replaces it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from edgemgr.errors import NotFoundError
from edgemgr.model.digest import Digest
from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.k3s_files import k3s_files
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store import backups
from edgemgr.store.database import Session


class RestoreParams(Params):
    """The backup, as it was when the restore was asked for."""

    backup: int = Field(ge=1)  #: the number under which it was taken
    digest: Digest  #: SHA-256 of its manifest
    version: str  #: the k3s that it belongs to


class Restore(OperationSpec):
    """Stops k3s, puts the backup in and sees the same cluster run; or puts back what was there."""

    kind: ClassVar[OperationKind] = OperationKind.RESTORE
    params: ClassVar[type[Params]] = RestoreParams
    timeout_s: ClassVar[float] = 3600.0

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:
        """It must be a backup of the site."""
        assert isinstance(params, RestoreParams)  # noqa: S101 - the registry pairs them
        for site in sites:
            found = backups.find(session, site.id or 0, params.backup)
            if found is None or found.digest != params.digest:
                raise NotFoundError(
                    f"this appliance holds no backup {params.backup} of site {site.name}",
                    hint=f"`edgemgr backup list {site.name}` shows those that are here.",
                    code="E-BACKUP-UNKNOWN",
                )

    def desire(self, site: Site, params: Params) -> None:
        """From now on the site ought to run the version of the backup."""
        assert isinstance(params, RestoreParams)  # noqa: S101 - the registry pairs them
        site.k3s_version = params.version

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:
        """Which backup, and the files of its k3s as far as they are here: a node that has that version needs none."""
        assert isinstance(params, RestoreParams)  # noqa: S101 - the registry pairs them
        try:
            files = k3s_files(session, params.version, site, settings)
        except NotFoundError:
            files = []
        return {
            "edge_backup_attempt": params.backup,
            "edge_backup_digest": params.digest,
            "edge_k3s_version": params.version,
            "edge_artifacts": files,
        }
