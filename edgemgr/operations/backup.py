"""backup: take a backup of the cluster and keep it on the node; a pull brings it here afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgemgr.errors import ConflictError
from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.model.token_rotation import can_rotate
from edgemgr.model.version import K3sVersion
from edgemgr.operations.spec import FollowUp, OperationSpec, Params
from edgemgr.operations.token_step import StepParams
from edgemgr.settings import Settings
from edgemgr.store import cluster_facts
from edgemgr.store.database import Session


class Backup(OperationSpec):
    """Disturbs nothing: k3s goes on while its datastore is copied."""

    kind: ClassVar[OperationKind] = OperationKind.BACKUP
    params: ClassVar[type[Params]] = StepParams
    timeout_s: ClassVar[float] = 3600.0
    is_step: ClassVar[bool] = True
    deadline_s: ClassVar[float] = 86400.0  #: a day later the next one is due anyway

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:
        """A token can be rotated only where there is a k3s that has one, and can."""
        assert isinstance(params, StepParams)  # noqa: S101 - the registry pairs them
        if params.leads_on():
            versions = cluster_facts.versions_of(session, [site.id or 0 for site in sites])
            for site in sites:
                _refuse(site.name, versions.get(site.id or 0))

    def follow_up(self, params: Params) -> FollowUp | None:
        """It is brought here; a step of a longer road leads on from there."""
        assert isinstance(params, StepParams)  # noqa: S101 - the registry pairs them
        return FollowUp(OperationKind.PULL, params.model_dump(mode="json"), keeps_deadline=params.leads_on())

    def loss(self, params: Params) -> str:
        """Whatever was to follow."""
        assert isinstance(params, StepParams)  # noqa: S101 - the registry pairs them
        return params.loss

    def stays(self, waiting: Params, newer: Params) -> bool:
        """One that leads on to a rotation is a backup like any other."""
        assert isinstance(waiting, StepParams)  # noqa: S101 - the registry pairs them
        assert isinstance(newer, StepParams)  # noqa: S101 - the registry pairs them
        return waiting.leads_on() and not newer.leads_on()

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """How many the node keeps."""
        return {"edge_backup_keep": settings.backup_node_keep}


def _refuse(site: str, version: str | None) -> None:
    if version is None:
        raise ConflictError(
            f"there is no k3s on {site}, as far as is known",
            hint=f"Bootstrap it; if it has one, `edgemgr verify {site} --wait` lets it be known.",
            code="E-TOKEN-NO-K3S",
        )
    found = K3sVersion.find(version)
    if found is not None and not can_rotate(found):
        raise ConflictError(
            f"k3s {version} of {site} cannot give itself a new token; releases from October 2023 on can",
            hint=f"Upgrade {site} first.",
            code="E-TOKEN-VERSION",
        )
