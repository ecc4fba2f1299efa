"""Comparing the node's clock with the controller's, without being fooled by a slow link. Pure."""

from __future__ import annotations

from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed


def skew_s(node_at: float, asked_at: float, answered_at: float) -> float:
    """How far the node's clock is off at the least, in seconds; positive when it is ahead.

    The node read its clock at some moment between the question and the answer, however long those took. A time
    inside that span proves nothing; only what lies outside of it counts.
    """
    if node_at < asked_at:
        return node_at - asked_at
    if node_at > answered_at:
        return node_at - answered_at
    return 0.0


def needs_answer(node_at: float, asked_at: float, limit_s: float) -> bool:
    """Whether only the controller can tell: the node's clock is ahead, or the question was long on its way."""
    return node_at - asked_at > limit_s


def check_clock(off_s: float, limit_s: float) -> Check:
    """The check, from what `skew_s` has found."""
    if abs(off_s) <= limit_s:
        return passed("clock", f"within {limit_s:g} s of the controller's")
    way = "ahead of" if off_s > 0 else "behind"
    return blocked(
        "clock",
        "E-PRE-CLOCK",
        f"the node's clock is at least {abs(off_s):.0f} s {way} the controller's; {limit_s:g} s are allowed",
        "Set the clock and give the node a time source (systemd-timesyncd or chrony), or correct the controller's.",
    )
