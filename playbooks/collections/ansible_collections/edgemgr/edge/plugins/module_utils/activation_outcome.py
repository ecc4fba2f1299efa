"""What the appliance is told of an upgrade: that it goes on, or how it failed. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_course
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError

#: Most of an upgrade is waiting for the cluster, which nobody needs a connection for.
RESUME_S = 20


def under_way(known: dict[str, Any] | None, what: str) -> dict[str, Any]:
    """It ends by itself; until then there is nothing to report."""
    journal = known["journal"] if known else []
    stands = (
        "it begins"
        if not journal
        else "it stands at {0!r} of hop {1}".format(journal[-1]["step"], journal[-1]["hop"] + 1)
    )
    return {
        "edge_activation": known,
        "edge_resume_s": RESUME_S,
        "msg": f"the node carries out {what} by itself: {stands}",
    }


def failure(verdict: dict[str, Any], found: dict[str, Any]) -> EdgeError:
    """The error of a verdict other than accepted; `found` goes with it."""
    why, version = verdict["why"], verdict["version"]
    if verdict["verdict"] == activation_course.REFUSED:
        hint = "Nothing was changed. Put right what the sentence says, then upgrade again."
        return EdgeError("E-UPGRADE-REFUSED", f"the node refused the upgrade: {why}", hint, NEVER, **found)
    if verdict["verdict"] == activation_course.ROLLED_BACK:
        hint = "The site runs as before. The journal tells the steps; the state of the new version was put aside."
        message = f"the node went back to {version}: {why}"
        return EdgeError("E-UPGRADE-ROLLED-BACK", message, hint, NEVER, **found)
    hint = "Both states are kept on the node: {0}, and beside each place the state that was replaced.".format(
        verdict["snapshot"]
    )
    return EdgeError("E-UPGRADE-HANDS", f"the site needs hands: {why}", hint, NEVER, **found)
