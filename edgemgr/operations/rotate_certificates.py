"""rotate-certificates: have k3s renew its leaf certificates, by a restart where they are due, or with new keys."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class RotateParams(Params):
    """Whether all leaves get new keys, also where nothing is due."""

    new_keys: bool = False


class RotateCertificates(OperationSpec):
    """k3s is restarted, its containers go on. Does nothing at a site where nothing is due, and may be repeated."""

    kind: ClassVar[OperationKind] = OperationKind.ROTATE_CERTIFICATES
    params: ClassVar[type[Params]] = RotateParams
    timeout_s: ClassVar[float] = 1800.0

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """What was asked for; the node knows the rest."""
        assert isinstance(params, RotateParams)  # noqa: S101 - the registry pairs them
        return {"edge_new_keys": params.new_keys}
