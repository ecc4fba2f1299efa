"""Who needs a bundle, or a k3s version: sites that are to run it or run it, operations that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_
from sqlmodel import Session, col, select

from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind
from edgemgr.model.site import Site

#: Names that a message gives; the rest is counted.
_NAMED = 3


@dataclass(frozen=True)
class Use:
    """Some sites that need a version, for one reason."""

    version: str
    arch: str
    reason: str  #: `is wanted on`, `runs on` or `is being brought to`
    sites: int
    names: tuple[str, ...]  #: the first of them

    def __str__(self) -> str:
        more = f" and {self.sites - len(self.names)} more" if self.sites > len(self.names) else ""
        return f"k3s {self.version} {self.reason} {', '.join(self.names)}{more}"


def uses_of(session: Session, version: str, arch: str) -> list[Use]:
    """Everybody who needs a version for one architecture; a site whose architecture is not known counts."""
    fits = or_(
        col(Site.arch) == arch,
        col(Site.arch).is_(None) & or_(col(Cluster.arch) == arch, col(Cluster.arch).is_(None)),
    )
    open_operations = col(Site.id).in_(
        select(Operation.site_id).where(
            col(Operation.state).in_([state.value for state in OPEN_STATES]),
            col(Operation.params)["version"].as_string() == version,
        )
    )
    reasons: Sequence[tuple[str, ColumnElement[bool]]] = (
        ("is wanted on", col(Site.k3s_version) == version),
        ("runs on", col(Cluster.k3s_version) == version),
        ("is being brought to", open_operations),
    )
    found = []
    for reason, condition in reasons:
        sites = session.scalar(_sites(func.count()).where(fits, condition)) or 0
        if sites:
            first = _sites(col(Site.name)).where(fits, condition).order_by(col(Site.name)).limit(_NAMED)
            found.append(Use(version, arch, reason, sites, tuple(session.scalars(first))))
    return found


def sites_under_way(session: Session, bundle: str, kind: OperationKind) -> list[str]:
    """Names of the sites where an operation of this kind out of the bundle has not ended."""
    return list(
        session.exec(
            select(Site.name)
            .join(Operation, col(Operation.site_id) == col(Site.id))
            .where(
                col(Operation.state).in_([state.value for state in OPEN_STATES]),
                col(Operation.kind) == kind.value,
                col(Operation.params)["bundle"].as_string() == bundle,
            )
            .order_by(col(Site.name))
        )
    )


def _sites(what: Any) -> Select[Any]:
    return select(what).select_from(Site).outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
