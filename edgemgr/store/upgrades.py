"""What a plan of upgrades reads: what a bundle offers, and what is known of many sites, in few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from edgemgr.model.bundle import Bundle, BundleTarget
from edgemgr.model.cluster import Cluster, Health, Reachability
from edgemgr.model.content import TargetKind
from edgemgr.model.operation import Operation, OperationKind, OperationState
from edgemgr.model.release import Arch, Packing, Part
from edgemgr.model.release_file import ReleaseFile
from edgemgr.model.site import Site
from edgemgr.model.update_status import CHANGING_KINDS
from edgemgr.model.upgrade_facts import OpenChange, UpgradeFacts
from edgemgr.model.upgrade_offer import Offer, OfferedRelease
from edgemgr.model.version import K3sVersion
from edgemgr.store import bundles
from edgemgr.store.open_operations import HEAD, HEAD_BY_SITE, QUEUED, QUEUED_BY_SITE, RUNNING
from edgemgr.store.queries import in_chunks

_Key = tuple[str, str]  # version and architecture


def offer_of(session: Session, bundle: Bundle) -> Offer:
    """The releases of a bundle that are on the appliance whole, with their signed bounds."""
    held: set[_Key] = {(each.version, each.arch) for each in bundles.releases_of(session, bundle.id or 0)}
    bounds, files = _bounds(session, bundle), _files(session, {version for version, _ in held})
    parts = {Part.BINARY.value, Part.IMAGES.value}
    releases = [
        _release(key, files[key], bounds.get(key, ()))
        for key in sorted(held)
        if key[1] in set(Arch) and parts <= files.get(key, {}).keys()
    ]
    return Offer(bundle.name, tuple(releases), tuple(bundle.from_versions))


def facts_of(session: Session, site_ids: Sequence[int]) -> list[UpgradeFacts]:
    """What is known of these sites, in the order of their names."""
    found: list[UpgradeFacts] = []
    for part in in_chunks(site_ids):
        changes, configs = _changes(session, part), _configs(session, part)
        rows = session.execute(_FACTS.where(col(Site.id).in_(part)))
        found += [_facts(row, tuple(changes.get(row.id, ())), configs.get(row.id)) for row in rows]
    return sorted(found, key=lambda facts: facts.name)


def _bounds(session: Session, bundle: Bundle) -> dict[_Key, tuple[str, ...]]:
    query = select(col(BundleTarget.custom)).where(
        col(BundleTarget.bundle_id) == bundle.id, col(BundleTarget.kind) == TargetKind.K3S_BINARY.value
    )
    customs = session.execute(query).scalars()
    return {(each["k3s_version"], each["arch"]): tuple(each.get("requires_from", ())) for each in customs}


def _files(session: Session, versions: set[str]) -> dict[_Key, dict[str, ReleaseFile]]:
    found: dict[_Key, dict[str, ReleaseFile]] = {}
    for file in session.execute(select(ReleaseFile).where(col(ReleaseFile.version).in_(sorted(versions)))).scalars():
        found.setdefault((file.version, file.arch), {})[file.part] = file
    return found


def _release(key: _Key, files: Mapping[str, ReleaseFile], bounds: tuple[str, ...]) -> OfferedRelease:
    images = files[Part.IMAGES.value]
    return OfferedRelease(
        version=K3sVersion.parse(key[0]),
        arch=Arch(key[1]),
        requires_from=bounds,
        binary_bytes=files[Part.BINARY.value].size_bytes,
        images_bytes=images.size_bytes,
        images_packed=not images.name.endswith(Packing.TAR.value),
    )


def _changes(session: Session, site_ids: Sequence[int]) -> dict[int, list[OpenChange]]:
    """Open operations that change these sites; those that run first."""
    kinds = [kind.value for kind in CHANGING_KINDS]
    shown = select(col(Operation.site_id), col(Operation.kind)).where(
        col(Operation.site_id).in_(site_ids), col(Operation.kind).in_(kinds)
    )
    found: dict[int, list[OpenChange]] = {}
    for query, is_running in (
        (shown.where(HEAD, RUNNING).with_hint(*HEAD_BY_SITE), True),
        (shown.where(QUEUED).with_hint(*QUEUED_BY_SITE), False),
    ):
        for site_id, kind in session.execute(query):
            found.setdefault(site_id, []).append(OpenChange(kind, is_running))
    return found


def _configs(session: Session, site_ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """The k3s options that each of these sites was given last."""
    other = aliased(Operation)
    newest = (
        select(col(other.id))
        .where(
            col(other.site_id) == col(Site.id),
            col(other.kind).in_([OperationKind.BOOTSTRAP.value, OperationKind.UPGRADE.value]),
            col(other.state) == OperationState.SUCCEEDED.value,
            col(other.params)["k3s_config"].as_string().is_not(None),  # an upgrade may leave them as they are
        )
        .order_by(col(other.id).desc())
        .limit(1)
        .correlate(Site)
        .scalar_subquery()
    )
    rows = session.execute(
        select(col(Site.id), col(Operation.params))
        .join(Operation, col(Operation.id) == newest)
        .where(col(Site.id).in_(site_ids))
    )
    return {site_id: params.get("k3s_config") or {} for site_id, params in rows}


_FACTS: Select[*tuple[Any, ...]] = (
    select(
        col(Site.id),
        col(Site.name),
        col(Site.user),
        col(Site.trust),
        col(Site.arch).label("wanted_arch"),
        col(Site.timezone),
        col(Site.paused_at),
        col(Site.paused_why),
        col(Cluster.reachability),
        col(Cluster.contact_at),
        col(Cluster.health),
        col(Cluster.health_reason),
        col(Cluster.observed_at),
        col(Cluster.k3s_version),
        col(Cluster.arch).label("seen_arch"),
        col(Cluster.os),
        col(Cluster.facts),
    )
    .select_from(Site)
    .outerjoin(Cluster, col(Cluster.site_id) == col(Site.id))
)


def _facts(row: Row[Any], changes: tuple[OpenChange, ...], config: Mapping[str, Any] | None) -> UpgradeFacts:
    return UpgradeFacts(
        site_id=row.id,
        name=row.name,
        user=row.user,
        trust=row.trust,
        wanted_arch=row.wanted_arch or "",
        timezone=row.timezone,
        is_paused=row.paused_at is not None,
        paused_why=row.paused_why,
        reachability=row.reachability or Reachability.UNKNOWN.value,
        contact_at=row.contact_at,
        health=row.health or Health.UNKNOWN.value,
        health_reason=row.health_reason or "",
        observed_at=row.observed_at,
        k3s_version=row.k3s_version or "",
        seen_arch=row.seen_arch or "",
        os=row.os or "",
        told=row.facts or {},
        changes=changes,
        config=config,
    )
