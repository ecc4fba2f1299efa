"""Bundle and sites → what a work order holds: for each site its pinned host key and its architecture's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemgr.bundles import faults
from edgemgr.errors import ConflictError, StoreError, UsageError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.stage_set import BundleRows, StageSet, compose, read_rows
from edgemgr.links.transfer_plan import Blob
from edgemgr.model.archive_recipe import ArchiveRecipe
from edgemgr.model.bundle import Bundle, BundleState
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.order_document import OrderedSite
from edgemgr.model.release import Arch
from edgemgr.model.site import Site, Trust
from edgemgr.store import bundles, work_orders
from edgemgr.store.database import Database

_NAMED = 5


@dataclass(frozen=True)
class OrderPlan:
    """What is going to be written."""

    bundle: Bundle
    sites: Sequence[tuple[int, OrderedSite]]  #: with their ids, by name
    content: Mapping[Arch, Sequence[str]]  #: digests, sorted
    files: Mapping[str, Blob | ArchiveRecipe]  #: digest → where its bytes come from; each once

    @property
    def blobs(self) -> dict[str, int]:
        """Digest → size, of everything that lies on the stick."""
        return {digest: self.files[digest].size_bytes for digest in sorted(self.files)}


def plan_order(
    database: Database, store: ContentStore, name: BundleName, site_ids: Sequence[int], *, now: datetime
) -> OrderPlan:
    """Look up what these sites get of a bundle.

    Raises:
        NotFoundError: there is no such bundle (E-BUNDLE-UNKNOWN).
        BundleError: it has expired (E-B030), holds nothing for a site (E-B050), or is not whole (E-BUNDLE-IMAGE).
        ConflictError: it is not taken in whole (E-BUNDLE-BUSY), or two sites have one host key (E-ORDER-DUPLICATE).
        UsageError: a host key is not pinned (E-ORDER-PIN), or an architecture is not known (E-ORDER-ARCH).
        StoreError: the content store cannot be read (E-ORDER-SOURCE).
    """
    with database.read() as session:
        rows = read_rows(session, bundles.get(session, name))
        found = work_orders.sites_with_arch(session, site_ids)
    bundle = rows.bundle
    if bundle.state != BundleState.IMPORTED.value:
        raise ConflictError(
            f"bundle {bundle.name} has not been taken in whole",
            hint="Run `edgemgr bundle import` with its file again: it goes on where it stopped.",
            code="E-BUNDLE-BUSY",
        )
    if bundle.expires_at <= now and not bundle.accepted_reason:
        raise faults.expired("bundle", bundle.expires_at, now)
    sites = _ordered_sites(found)
    content: dict[Arch, list[str]] = {}
    files: dict[str, Blob | ArchiveRecipe] = {}
    for arch in sorted({site.arch for _, site in sites}):
        names = [site.name for _, site in sites if site.arch is arch]
        if bundle.archs and arch.value not in bundle.archs:
            raise faults.missing_arch(arch.value, names, len(sites), bundle.archs)
        wanted = _composed(rows, store, arch, names[0])
        files.update({blob.digest: blob for blob in wanted.files})
        files.update({archive.digest: archive for archive in wanted.archives})
        content[arch] = sorted(wanted.digests)
    return OrderPlan(bundle, sites, content, files)


def _composed(rows: BundleRows, store: ContentStore, arch: Arch, site: str) -> StageSet:
    try:
        return compose(rows, store, arch, site=site)
    except OSError as exc:
        raise StoreError(
            f"the content of bundle {rows.bundle.name} cannot be read: {exc.strerror or exc}",
            hint="The appliance's disk may be failing. Import the bundle again.",
            code="E-ORDER-SOURCE",
        ) from exc


def _ordered_sites(found: Sequence[tuple[Site, str | None]]) -> list[tuple[int, OrderedSite]]:
    unpinned = [site.name for site, _ in found if site.trust != Trust.PINNED.value or not site.host_key_fingerprint]
    if unpinned:
        raise UsageError(
            f"{_some(unpinned)}: no host key is pinned, so that neither order nor receipt could be told from others",
            hint="Read its fingerprint on the node itself, then `edgemgr site trust SITE --fingerprint SHA256:…`.",
            code="E-ORDER-PIN",
        )
    unknown = [site.name for site, arch in found if arch not in [known.value for known in Arch]]
    if unknown:
        raise UsageError(
            f"{_some(unknown)}: the architecture is not known",
            hint="Say it once: `edgemgr site edit SITE --arch amd64`.",
            code="E-ORDER-ARCH",
        )
    by_key: dict[str, list[str]] = {}
    for site, _ in found:
        by_key.setdefault(site.host_key_fingerprint or "", []).append(site.name)
    for names in by_key.values():
        if len(names) > 1:
            raise ConflictError(
                f"{_some(names)} have the same host key",
                hint="Copied disks? Give each node its own keys, and pin those.",
                code="E-ORDER-DUPLICATE",
            )
    return [
        (site.id or 0, OrderedSite(name=site.name, host_key=site.host_key_fingerprint or "", arch=Arch(arch or "")))
        for site, arch in sorted(found, key=lambda pair: pair[0].name)
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
