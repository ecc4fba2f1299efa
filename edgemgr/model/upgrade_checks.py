"""The checks before an upgrade that are about the site and what was asked; the list of all of them. Pure.

They tell in advance what the node will say: it makes all of them again before it stops anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgemgr.model import upgrade_node_checks as node
from edgemgr.model.cluster import Reachability
from edgemgr.model.site import DEFAULT_USER, Trust
from edgemgr.model.upgrade import HOP_DEADLINE_S, Check, Hop, Preflight, Refusal, Verdict
from edgemgr.model.upgrade_facts import UpgradeFacts
from edgemgr.model.upgrade_offer import Offer
from edgemgr.model.upgrade_room import disk


@dataclass(frozen=True)
class Circumstances:
    """What decides beside the site itself."""

    offer: Offer
    now: datetime
    staged: bool = False  #: the bundle lies on the node, as far as was told
    open_s: float | None = None  #: so long its maintenance window stays open at a time; None: none was given
    config: Mapping[str, Any] | None = None  #: k3s options in place of those that it has; None: they stay


def all_checks(facts: UpgradeFacts, way: tuple[Hop, ...] | Refusal, given: Circumstances) -> tuple[Check, ...]:
    """Every check, in the order of `Preflight`. Where no way leads, what depends on the way is left to the node."""
    hops = () if isinstance(way, Refusal) else way
    return (
        _ssh(facts),
        _sudo(facts),
        _arch(facts),
        _version(way),
        _busy(facts),
        disk(facts, given.offer, hops, staged=given.staged),
        node.memory(facts),
        node.clock(facts),
        node.certificates(facts, given.now),
        node.node(facts, given.now),
        node.pods(facts, given.now),
        node.datastore(facts),
        node.network(),
        node.config(facts, hops, given.config),
        _window(hops, given.open_s),
    )


def _ssh(facts: UpgradeFacts) -> Check:
    known = f"`edgemgr site trust {facts.name}` shows what is known."
    match facts.trust:
        case Trust.MISMATCH:
            why = "another host key answered than the pinned one"
            return Check(Preflight.SSH, Verdict.BLOCK, why, "E-SITE-IDENTITY-MISMATCH", known)
        case Trust.SEEN:
            why = "its host key was seen and confirmed by nobody"
            return Check(Preflight.SSH, Verdict.BLOCK, why, "E-TRUST-SEEN", known)
        case Trust.PINNED if facts.reachability == Reachability.UNREACHABLE:
            since = f" since {_at(facts.contact_at)}" if facts.contact_at else ""
            return Check(Preflight.SSH, Verdict.WARN, f"it does not answer{since}; its upgrade waits until it does")
        case Trust.PINNED:
            return Check(Preflight.SSH, Verdict.PASS, "its host key is pinned")
    return Check(Preflight.SSH, Verdict.BLOCK, "no host key of it is known", "E-TRUST-UNKNOWN", known)


def _sudo(facts: UpgradeFacts) -> Check:
    if facts.user == DEFAULT_USER:
        return Check(Preflight.SUDO, Verdict.PASS, f"the login is {DEFAULT_USER}")
    at = facts.moment("checked_at")
    if at is not None:  # only a task that ran as root reports it
        return Check(Preflight.SUDO, Verdict.PASS, f"{facts.user} became root on {_at(at)}")
    return Check(Preflight.SUDO, Verdict.ASK, f"whether {facts.user} can become root is tried on the site")


def _arch(facts: UpgradeFacts) -> Check:
    if facts.is_of_other_arch:
        return Check(
            Preflight.ARCH,
            Verdict.BLOCK,
            f"the node is {facts.seen_arch}, the inventory says {facts.wanted_arch}",
            "E-PRE-ARCH",
            "Correct the site's arch, or check that the address belongs to the right node.",
        )
    if not facts.seen_arch:
        return Check(Preflight.ARCH, Verdict.ASK, "the node has not told what it is")
    return Check(Preflight.ARCH, Verdict.PASS, f"{facts.seen_arch}, {facts.os or 'system not known'}")


def _version(way: tuple[Hop, ...] | Refusal) -> Check:
    if isinstance(way, Refusal):
        return Check(Preflight.VERSION, Verdict.BLOCK, way.message, way.code, way.hint)
    if not any(hop.needs_files for hop in way):
        return Check(Preflight.VERSION, Verdict.PASS, f"{way[0].to_version} stays, and its configuration changes")
    steps = " → ".join([way[0].from_version, *(hop.to_version for hop in way)])
    return Check(Preflight.VERSION, Verdict.PASS, steps)


def _busy(facts: UpgradeFacts) -> Check:
    running = [change.kind for change in facts.changes if change.is_running]
    waiting = [change.kind for change in facts.changes if not change.is_running]
    if running:
        return Check(
            Preflight.BUSY,
            Verdict.BLOCK,
            f"a {running[0]} of the site is running",
            "E-UPGRADE-BUSY",
            f"Wait for its end: `edgemgr operation list {facts.name} --open`.",
        )
    if waiting:
        return Check(Preflight.BUSY, Verdict.WARN, f"a {waiting[0]} was asked for before and goes first")
    if facts.is_paused:
        why = f": {facts.paused_why}" if facts.paused_why else ""
        return Check(Preflight.BUSY, Verdict.WARN, f"the site is paused{why}; nothing begins until it is resumed")
    return Check(Preflight.BUSY, Verdict.PASS, "nothing else changes the site")


def _window(hops: Sequence[Hop], open_s: float | None) -> Check:
    most = len(hops) * HOP_DEADLINE_S
    if open_s is None:
        return Check(Preflight.WINDOW, Verdict.PASS, f"no window was given; it takes {most // 60} minutes at most")
    if open_s < most:
        return Check(
            Preflight.WINDOW,
            Verdict.BLOCK,
            f"it may take {most // 60} minutes, and the window is never open for more than {open_s // 60:.0f}",
            "E-UPGRADE-WINDOW",
            "Give a longer window, or go fewer minor versions at a time with --version.",
        )
    return Check(Preflight.WINDOW, Verdict.PASS, f"it takes {most // 60} minutes at most, which the window has")


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
