"""The plan of an upgrade for many sites at once: what would be done at each, and what stands against it.

Asks nothing of any site, and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from edgemgr.bundles.usable import must_be_usable
from edgemgr.model.upgrade import UpgradePlan, Wish
from edgemgr.model.upgrade_checks import Circumstances
from edgemgr.model.upgrade_hops import goal_of
from edgemgr.model.upgrade_site import plan_of
from edgemgr.model.window import Window
from edgemgr.store import bundles, upgrades
from edgemgr.store.bundle_holdings import holder_ids
from edgemgr.store.database import Database

_WEEK_MIN = 7 * 24 * 60


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
    open_s = _open_s(wish.hours, {site.timezone for site in sites})
    return [
        plan_of(site, goal, Circumstances(offer, now, staged=site.site_id in holders, open_s=open_s.get(site.timezone)))
        for site in sites
    ]


def _open_s(hours: str | None, zones: set[str | None]) -> Mapping[str | None, float]:
    """Time zone → how long the hours last at a time there, in seconds."""
    return {} if hours is None else {zone: longest_s(Window.parse(hours, zone)) for zone in zones}


def longest_s(window: Window) -> float:
    """How long a window stays open at a time at most, in seconds, as the wall clock counts them."""
    if not window.spans:
        return math.inf
    lengths = [end - start for start, end in window.spans]
    first, last = window.spans[0], window.spans[-1]
    if first[0] == 0 and last[1] == _WEEK_MIN:  # open over the end of the week
        lengths.append(lengths[0] + lengths[-1])
    return max(lengths) * 60.0
