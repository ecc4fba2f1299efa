"""The plan of one site: its way, the checks before it, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from edgemgr.model.upgrade import HOP_DEADLINE_S, Check, Hop, PlanState, Refusal, UpgradePlan, Verdict
from edgemgr.model.upgrade_checks import Circumstances, all_checks
from edgemgr.model.upgrade_facts import UpgradeFacts
from edgemgr.model.upgrade_hops import plan_hops
from edgemgr.model.version import K3sVersion

_STATES = {Verdict.BLOCK: PlanState.BLOCKED, Verdict.WARN: PlanState.WARNED}


def plan_of(site: UpgradeFacts, goal: K3sVersion, given: Circumstances) -> UpgradePlan:
    """Plan the upgrade of one site. Options that it is known to have already are no change."""
    way = plan_hops(given.offer, goal, arch=site.arch, installed=site.k3s_version)
    if way == () and given.config is not None and given.config != site.config:
        way = (Hop(str(goal), str(goal)),)
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
