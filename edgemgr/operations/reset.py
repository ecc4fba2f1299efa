"""reset: remove k3s and everything that we put there."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Reset(OperationSpec):
    """Back to a bare host. The data of the workloads goes with it."""

    kind: ClassVar[OperationKind] = OperationKind.RESET
    timeout_s: ClassVar[float] = 900.0

    def desire(self, site: Site, params: Params) -> None:  # noqa: ARG002
        """Nothing is wanted there any more."""
        site.k3s_version = None

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """None beside the site's name and the attempt's number."""
        return {}
