"""tidy: remove what old versions of k3s have left on a node, and make its datastore smaller."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class TidyParams(Params):
    """Whether k3s may be stopped to make its datastore smaller."""

    vacuum: bool = False


class Tidy(OperationSpec):
    """Only what nothing runs from goes; containers go on. May be repeated."""

    kind: ClassVar[OperationKind] = OperationKind.TIDY
    params: ClassVar[type[Params]] = TidyParams
    timeout_s: ClassVar[float] = 1800.0

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """What was asked for; the node knows the rest."""
        assert isinstance(params, TidyParams)  # noqa: S101 - the registry pairs them
        return {"edge_vacuum": params.vacuum}
