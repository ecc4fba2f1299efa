"""A bundle → gone, with the content that nobody else holds; not as long as anything needs it."""

from __future__ import annotations

from dataclasses import dataclass

from edgemgr.errors import ConflictError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.content_sweep import sweep
from edgemgr.inventory.incoming import Incoming
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.operation import OperationKind
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import bundle_uses, bundles, events
from edgemgr.store.bundle_item import BundleItem
from edgemgr.store.database import Database, Session

#: Sites that a message names; the rest is counted.
_NAMED = 3
#: What an operation that has not ended does with the bundle. An upgrade needs more of it than the version that it ends
#: on, and the node may be at work on it by itself.
_UNDER_WAY = {
    OperationKind.STAGE: "it is being staged on",
    OperationKind.UPGRADE: "an upgrade out of it has not ended on",
}


@dataclass(frozen=True)
class Removal:
    """What went, or would go."""

    bundle: BundleItem
    blobs: int  #: files that nothing else holds
    freed_bytes: int
    versions: tuple[str, ...]  #: that sites can no longer be given, as `v1.34.6+k3s1/amd64`
    uses: tuple[str, ...]  #: what needs them: as long as there is any, nothing is removed


def preview_removal(database: Database, name: BundleName) -> Removal:
    """What a removal would take away; changes nothing.

    Raises:
        NotFoundError: there is no such bundle (E-BUNDLE-UNKNOWN).
    """
    with database.write() as session:
        trial = session.begin_nested()
        removal, _ = _remove(session, name)
        trial.rollback()
    return removal


def remove_bundle(database: Database, settings: Settings, name: BundleName, *, actor: str) -> Removal:
    """Remove a bundle; an unfinished one too. What it made trusted stays: an older one is still refused.

    Raises:
        NotFoundError: there is no such bundle (E-BUNDLE-UNKNOWN).
        ConflictError: a site or an operation needs a version that only this bundle holds, or a stage or an
            upgrade out of it has not ended (E-BUNDLE-IN-USE), or an import runs (E-BUNDLE-BUSY).
    """
    incoming, store = Incoming(settings.incoming_dir), ContentStore(settings.release_dir)
    with incoming.locked():
        with database.write() as session:
            removal, digests = _remove(session, name)
            if removal.uses:
                raise ConflictError(
                    f"bundle {name} is needed: {'; '.join(removal.uses)}",
                    hint="Give those sites another version first, or import a bundle that holds this version too; "
                    "wait for what is under way, or end it with `edgemgr operation cancel`.",
                    code="E-BUNDLE-IN-USE",
                )
            events.record(
                session,
                Reason.BUNDLE_REMOVED,
                f"bundle {name} was removed, sha256:{removal.bundle.digest}; {removal.blobs} files that nothing else "
                f"holds went with it",
                actor=actor,
            )
        # The rows are gone for good before the first file is: what a crash leaves is swept away by the next import.
        store.remove(digests)
        incoming.discard(name)
        sweep(database, store)
    return removal


def _remove(session: Session, name: BundleName) -> tuple[Removal, list[str]]:
    """Take the rows away, and say which files nothing refers to then."""
    bundle = bundles.get(session, name)
    bundle_id, item = bundle.id or 0, BundleItem.of(bundle, utc_now())
    lost = bundles.releases_only_of(session, bundle_id)
    uses = [str(use) for each in lost for use in bundle_uses.uses_of(session, each.version, each.arch)]
    versions = tuple(f"{each.version}/{each.arch}" for each in lost)
    bundles.forget_release_files(session, lost)
    for kind, what in _UNDER_WAY.items():
        uses += _under_way(what, bundle_uses.sites_under_way(session, str(name), kind))
    blobs = bundles.blobs_only_of(session, bundle_id)
    bundles.drop(session, bundle)
    return Removal(item, len(blobs), sum(blobs.values()), versions, tuple(uses)), list(blobs)


def _under_way(what: str, sites: list[str]) -> list[str]:
    if not sites:
        return []
    more = f" and {len(sites) - _NAMED} more" if len(sites) > _NAMED else ""
    return [f"{what} {', '.join(sites[:_NAMED])}{more}"]
