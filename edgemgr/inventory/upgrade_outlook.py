"""The plan of an upgrade for many sites at once: what would be done at each, and what stands against it.

Asks nothing of any site, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from edgemgr.bundles.usable import must_be_usable
from edgemgr.model.upgrade import UpgradePlan, Wish
from edgemgr.model.upgrade_checks import Circumstances
from edgemgr.model.upgrade_hops import goal_of
from edgemgr.model.upgrade_site import plan_of
from edgemgr.model.upgrade_window import open_for_s
from edgemgr.store import bundles, upgrades
from edgemgr.store.bundle_holdings import holder_ids
from edgemgr.store.database import Database


def outlook(database: Database, wish: Wish, site_ids: Sequence[int], *, now: datetime) -> list[UpgradePlan]:
    """Plan the upgrade of these sites, in the order of their names.

    Raises:
        NotFoundError: there is no such bundle (E-BUNDLE-UNKNOWN), or it has not that version (E-UPGRADE-VERSION).
        BundleError: it has expired (E-B030), or holds no k3s (E-UPGRADE-EMPTY).
        ConflictError: it has not been taken in whole (E-BUNDLE-BUSY).
        ReleaseError: what is wanted is no version (E-RELEASE-VERSION).
        InventoryError: the hours are no window (E-WINDOW).
    """
    with database.read() as session:
        bundle = bundles.get(session, wish.bundle)
        must_be_usable(bundle, now)
        offer, sites = upgrades.offer_of(session, bundle), upgrades.facts_of(session, site_ids)
        holders = holder_ids(session, bundle.name)
    goal = goal_of(offer, wish.version)
    open_s = open_for_s(wish.hours, {site.timezone for site in sites})
    whole = Circumstances(offer, now, config=wish.config)
    return [
        plan_of(site, goal, replace(whole, staged=site.site_id in holders, open_s=open_s.get(site.timezone)))
        for site in sites
    ]
