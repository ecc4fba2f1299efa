"""bootstrap: bring k3s to the wanted version on a site that has none, or converge the same version."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from edgemgr.errors import UsageError
from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.model.version import K3sVersion
from edgemgr.model.work_order import ORDER_KEY
from edgemgr.operations.k3s_files import k3s_files
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store import appliance_keys, releases
from edgemgr.store.database import Session


class BootstrapParams(Params):
    """The version to run, and what to put into k3s' config.yaml beside our own keys."""

    version: str
    k3s_config: dict[str, Any] = Field(default_factory=dict)


class Bootstrap(OperationSpec):
    """From a bare host to a verified single-node cluster."""

    kind: ClassVar[OperationKind] = OperationKind.BOOTSTRAP
    params: ClassVar[type[Params]] = BootstrapParams
    timeout_s: ClassVar[float] = 3600.0

    def check(self, session: Session, params: Params) -> None:
        """The version must be one, and its files must be on the appliance."""
        assert isinstance(params, BootstrapParams)  # noqa: S101 - the registry pairs them
        try:
            K3sVersion.parse(params.version)
        except ValueError as exc:
            raise UsageError(
                f"{params.version!r} is no k3s version: {exc}",
                hint="Write it as k3s does, for example v1.33.5+k3s1.",
                code="E-OP-VERSION",
            ) from exc
        releases.files_of(session, params.version)

    def desire(self, site: Site, params: Params) -> None:
        """From now on the site ought to run this version."""
        assert isinstance(params, BootstrapParams)  # noqa: S101 - the registry pairs them
        site.k3s_version = params.version

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:
        """The version, its files for every architecture (the node takes its own), configuration and order key."""
        assert isinstance(params, BootstrapParams)  # noqa: S101 - the registry pairs them
        key = appliance_keys.find(session, ORDER_KEY)
        return {
            # From now on the node takes no work order of anybody else from a stick, and asks nobody for a code.
            "edge_order_key": key.public_key if key else "",
            "edge_k3s_version": params.version,
            "edge_k3s_config": params.k3s_config,
            "edge_artifacts": k3s_files(session, params.version, site, settings),
        }
