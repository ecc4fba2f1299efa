"""backup: take a backup of the cluster and keep it on the node; a pull brings it here afterwards."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Backup(OperationSpec):
    """Disturbs nothing: k3s goes on while its datastore is copied."""

    kind: ClassVar[OperationKind] = OperationKind.BACKUP
    timeout_s: ClassVar[float] = 3600.0
    deadline_s: ClassVar[float] = 86400.0  #: a day later the next one is due anyway
    follow_up: ClassVar[OperationKind | None] = OperationKind.PULL

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """How many the node keeps."""
        return {"edge_backup_keep": settings.backup_node_keep}
