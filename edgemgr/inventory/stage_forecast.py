"""What a stage would send to each site at most, and how long that would take: told before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgemgr.errors import BundleError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.stage_set import BundleRows, compose, read_rows
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.release import Arch
from edgemgr.settings import Settings
from edgemgr.store import bundles, stages, transfer_rules
from edgemgr.store.chosen_sites import sites_of
from edgemgr.store.database import Database
from edgemgr.store.stage_item import tightest


@dataclass(frozen=True)
class StageForecast:
    """One site. The node may hold much of it already; only an attempt learns that."""

    site: str
    arch: str  #: empty: nobody knows before the node is asked; then the largest counts
    most_bytes: int
    rate_bytes_s: float | None  #: learnt from what was sent to this site before; None: nothing was
    soon_s: float | None
    eta_s: float | None
    late_s: float | None


def forecast(database: Database, settings: Settings, name: BundleName, site_ids: Sequence[int]) -> list[StageForecast]:
    """Look ahead for these sites, in the order of their numbers.

    Raises:
        NotFoundError: there is no such bundle (E-BUNDLE-UNKNOWN).
        BundleError: an image in it is not whole (E-BUNDLE-IMAGE), or its content cannot be read (E-BUNDLE-FILE).
    """
    with database.read() as session:
        rows = read_rows(session, bundles.get(session, name))
        sites, seen = sites_of(session, site_ids), stages.seen_on(session, site_ids)
        rates, parts = transfer_rules.limits(session), stages.parts_of_all(session, site_ids)
        known = stages.transfers_of(session, site_ids)
    most = _most_bytes(rows, ContentStore(settings.release_dir))
    found = []
    for site in sites:
        site_id = site.id or 0
        arch = site.arch or seen.get(site_id, ("", ""))[0]
        number = most.get(arch, max(most.values()))
        throughput = known[site_id].throughput if site_id in known else None
        eta = throughput.eta(number, cap_bytes_s=tightest(rates, parts[site_id])) if throughput else None
        found.append(
            StageForecast(
                site=site.name,
                arch=arch,
                most_bytes=number,
                rate_bytes_s=throughput.rate_bytes_s if throughput else None,
                soon_s=eta.soon_s if eta else None,
                eta_s=eta.likely_s if eta else None,
                late_s=eta.late_s if eta else None,
            )
        )
    return found


def _most_bytes(rows: BundleRows, store: ContentStore) -> dict[str, int]:
    """Architecture → all that a site of it is to hold of the bundle."""
    archs = [Arch(each) for each in rows.bundle.archs] or list(Arch)
    try:
        return {arch.value: compose(rows, store, arch, site="").total_bytes for arch in archs}
    except OSError as exc:
        raise BundleError(
            f"the content of bundle {rows.bundle.name} cannot be read: {exc}",
            hint="The appliance's disk may be failing. Import the bundle again.",
            code="E-BUNDLE-FILE",
        ) from exc
