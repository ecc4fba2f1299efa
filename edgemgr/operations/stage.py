"""stage: bring what a bundle holds for a site into its node's content store, over days if need be; no playbook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import field_validator

from edgemgr.bundles import faults
from edgemgr.bundles.usable import must_be_usable
from edgemgr.model.bundle import Bundle
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import VersionBound
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store import bundles, stages
from edgemgr.store.database import Session


class StageParams(Params):
    """The bundle, as `PRODUCT/CHANNEL/NUMBER`."""

    bundle: str

    @field_validator("bundle")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return str(BundleName.parse(value))


class Stage(OperationSpec):
    """Moves bytes and nothing else: it disturbs no workload, goes on after any cut, and gives way to other work."""

    kind: ClassVar[OperationKind] = OperationKind.STAGE
    params: ClassVar[type[Params]] = StageParams
    has_playbook: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 30 * 86400.0
    deadline_s: ClassVar[float] = 30 * 86400.0
    max_attempts: ClassVar[int] = 10
    max_lost: ClassVar[int] = 1000  #: in weeks an appliance is restarted often, and nothing is done twice
    priority: ClassVar[int] = Priority.TRANSFER
    changes_site: ClassVar[bool] = False

    def check(self, session: Session, params: Params) -> None:
        """The bundle must have been taken in, and must be valid today or have been accepted by an administrator."""
        must_be_usable(_bundle(session, params), utc_now())

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:
        """It must hold the architecture of every site that is known, and upgrade from what runs there."""
        bundle = _bundle(session, params)
        seen = stages.seen_on(session, [site.id or 0 for site in sites])
        others: dict[str, list[str]] = {}
        for site in sites:
            arch = site.arch or seen.get(site.id or 0, ("", ""))[0]
            if arch and bundle.archs and arch not in bundle.archs:
                others.setdefault(arch, []).append(site.name)
        for arch, names in others.items():
            raise faults.missing_arch(arch, names, len(sites), bundle.archs)
        for site in sites:
            version = seen.get(site.id or 0, ("", ""))[1]
            if version and not starts_from(version, bundle.from_versions, bundle.k3s_versions):
                raise faults.wrong_start(site.name, version, bundle.from_versions)

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """None: there is no playbook."""
        return {}


def starts_from(version: str, bounds: Sequence[str], brings: Sequence[str]) -> bool:
    """Whether a bundle upgrades from a version: within one of its bounds, or one that it brings itself.

    A bundle without bounds upgrades from any; a version that cannot be read is left to the site's own checks.
    """
    found = K3sVersion.find(version)
    if not bounds or version in brings or found is None:
        return True
    parsed = [VersionBound.parse(text) for text in bounds]
    return any(bound is not None and bound.compare(found) == 0 for bound in parsed)


def _bundle(session: Session, params: Params) -> Bundle:
    assert isinstance(params, StageParams)  # noqa: S101 - the registry pairs them
    return bundles.get(session, BundleName.parse(params.bundle))
