"""Comparing the node's clock with the controller's, without being fooled by a slow link."""

from __future__ import annotations

from typing import Any


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


def judge(off_s: float, limit_s: float) -> tuple[dict[str, str], dict[str, str] | None]:
    """The check and, beyond the limit, the refusal."""
    if abs(off_s) <= limit_s:
        return {"check": "clock", "verdict": "pass", "detail": f"within {limit_s:g} s of the controller's"}, None
    way = "ahead of" if off_s > 0 else "behind"
    message = f"the node's clock is at least {abs(off_s):.0f} s {way} the controller's; {limit_s:g} s are allowed"
    hint = "Set the clock and give the node a time source (systemd-timesyncd or chrony), or correct the controller's."
    refusal = {"code": "E-PRE-CLOCK", "message": message, "hint": hint, "check": "clock"}
    return {"check": "clock", "verdict": "block", "detail": message}, refusal


def add_to(result: dict[str, Any], node_at: float, asked_at: float, answered_at: float, limit_s: float) -> None:
    """Put the verdict on the clock into a result of preflight."""
    verdict, refusal = judge(skew_s(node_at, asked_at, answered_at), limit_s)
    result["edge_checks"].append(verdict)
    if refusal:
        result["edge_refusals"].append(refusal)
