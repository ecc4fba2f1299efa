"""rotate-token: have k3s draw a new server token; a backup that holds it follows."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.spec import FollowUp, OperationSpec, Params
from edgemgr.operations.token_step import TokenStep
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class RotateToken(OperationSpec):
    """k3s is restarted, its containers go on; back to the old token if it does not come through.

    Nobody asks for it by itself: it follows from a backup of before that has come here (`token_step`).
    """

    kind: ClassVar[OperationKind] = OperationKind.ROTATE_TOKEN
    timeout_s: ClassVar[float] = 1800.0
    is_step: ClassVar[bool] = True

    def follow_up(self, params: Params) -> FollowUp | None:  # noqa: ARG002
        """The backups of before hold the old token: one with the new one is taken at once."""
        return FollowUp(OperationKind.BACKUP, {"token": TokenStep.AFTER})

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """None beside the site's name and the attempts' numbers: the node draws the token, and nobody is told it."""
        return {}
