"""pull: bring the newest backup of a node to the appliance, over days if need be; no playbook."""

from __future__ import annotations

from typing import ClassVar

from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.operations.spec import FollowUp, OperationSpec, Params
from edgemgr.operations.token_step import StepParams
from edgemgr.settings import Settings
from edgemgr.store.database import Session


class Pull(OperationSpec):
    """Moves bytes and nothing else: goes on after any cut, and gives way to other work.

    Which backup it brings is decided when it runs: the newest that the node holds. So a newer pull may take its place.
    """

    kind: ClassVar[OperationKind] = OperationKind.PULL
    params: ClassVar[type[Params]] = StepParams
    has_playbook: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 30 * 86400.0
    is_step: ClassVar[bool] = True
    deadline_s: ClassVar[float] = 30 * 86400.0
    max_attempts: ClassVar[int] = 10
    max_lost: ClassVar[int] = 1000  #: in weeks an appliance is restarted often, and nothing is done twice
    priority: ClassVar[int] = Priority.TRANSFER
    changes_site: ClassVar[bool] = False

    def follow_up(self, params: Params) -> FollowUp | None:
        """Once a good state is here, the token may be rotated, if that was asked for."""
        assert isinstance(params, StepParams)  # noqa: S101 - the registry pairs them
        return FollowUp(OperationKind.ROTATE_TOKEN, keeps_deadline=True) if params.leads_on() else None

    def loss(self, params: Params) -> str:
        """Whatever was to follow."""
        assert isinstance(params, StepParams)  # noqa: S101 - the registry pairs them
        return params.loss

    def stays(self, waiting: Params, newer: Params) -> bool:
        """One that leads on to a rotation brings the newest backup as well."""
        assert isinstance(waiting, StepParams)  # noqa: S101 - the registry pairs them
        assert isinstance(newer, StepParams)  # noqa: S101 - the registry pairs them
        return waiting.leads_on() and not newer.leads_on()

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """None: there is no playbook."""
        return {}
