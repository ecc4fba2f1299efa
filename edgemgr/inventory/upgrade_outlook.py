"""The plan of an upgrade for many sites at once: what would be done at each, and what stands against it.

Asks nothing of any site, and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemgr.bundles import faults
from edgemgr.errors import ConflictError
from edgemgr.inventory.upgrade_checks import Circumstances, all_checks
from edgemgr.inventory.upgrade_plan import goal_of, plan_hops
from edgemgr.model.bundle import Bundle, BundleState
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.upgrade import HOP_DEADLINE_S, Check, PlanState, Refusal, UpgradePlan, Verdict
from edgemgr.model.upgrade_facts import UpgradeFacts
from edgemgr.model.version import K3sVersion
from edgemgr.model.window import Window
from edgemgr.store import bundles, upgrades
from edgemgr.store.bundle_holdings import holder_ids
from edgemgr.store.database import Database

_WEEK_MIN = 7 * 24 * 60
_STATES = {Verdict.BLOCK: PlanState.BLOCKED, Verdict.WARN: PlanState.WARNED}


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    bundle: BundleName
    version: str | None = None  #: of k3s; None: the newest of the bundle
    hours: str | None = None  #: in which sites may be disturbed, each by its own clock; None: at any time


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
        _must_be_usable(bundle, now)
        offer, sites = upgrades.offer_of(session, bundle), upgrades.facts_of(session, site_ids)
        holders = holder_ids(session, bundle.name)
    goal = goal_of(offer, wish.version)
    open_s = _open_s(wish.hours, {site.timezone for site in sites})
    return [
        plan_of(site, goal, Circumstances(offer, now, staged=site.site_id in holders, open_s=open_s.get(site.timezone)))
        for site in sites
    ]


def plan_of(site: UpgradeFacts, goal: K3sVersion, given: Circumstances) -> UpgradePlan:
    """Plan the upgrade of one site."""
    way = plan_hops(given.offer, goal, arch=site.arch, installed=site.k3s_version)
    hops = () if isinstance(way, Refusal) else way
    checks = () if way == () else all_checks(site, way, given)
    blocks = [check for check in checks if check.verdict is Verdict.BLOCK]
    telling = blocks or [check for check in checks if check.verdict is Verdict.WARN]
    return UpgradePlan(
        site=site.name,
        state=_state(way, telling),
        arch=site.arch.value if site.arch else "",
        from_version=site.k3s_version,
        to_version=str(goal),
        hops=hops,
        staged=given.staged,
        most_s=len(hops) * HOP_DEADLINE_S,
        observed_at=site.observed_at,
        code=blocks[0].code if blocks else "",
        why="; ".join(check.detail for check in telling),
        hint=blocks[0].hint if blocks else "",
        checks=checks,
    )


def _state(way: Sequence[object] | Refusal, telling: Sequence[Check]) -> PlanState:
    if way == ():
        return PlanState.UP_TO_DATE
    return _STATES[telling[0].verdict] if telling else PlanState.READY


def _must_be_usable(bundle: Bundle, now: datetime) -> None:
    """Nothing is ever activated out of a bundle that is not whole or not valid, so nothing is planned with it."""
    if bundle.state != BundleState.IMPORTED.value:
        raise ConflictError(
            f"bundle {bundle.name} has not been taken in whole",
            hint="Run `edgemgr bundle import` with its file again: it goes on where it stopped.",
            code="E-BUNDLE-BUSY",
        )
    if bundle.expires_at <= now and not bundle.accepted_reason:
        raise faults.expired("bundle", bundle.expires_at, now)


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
