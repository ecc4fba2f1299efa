"""probe: look at a site through SSH and the Kubernetes API; changes nothing and needs no playbook."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Probe(OperationSpec):
    """Refreshes the Cluster of a site."""

    kind: ClassVar[OperationKind] = OperationKind.PROBE
    has_playbook: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 60.0
    deadline_s: ClassVar[float] = 86400.0
    changes_site: ClassVar[bool] = False

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """None: there is no playbook."""
        return {}
