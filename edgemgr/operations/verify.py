"""verify: look thoroughly, on the node itself; changes nothing."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Verify(OperationSpec):
    """The check that ends a bootstrap, by itself."""

    kind: ClassVar[OperationKind] = OperationKind.VERIFY
    timeout_s: ClassVar[float] = 900.0
    deadline_s: ClassVar[float] = 86400.0
    changes_site: ClassVar[bool] = False

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """The version that ought to run, if one was ever asked for."""
        return {"edge_k3s_version": site.k3s_version or ""}
