"""Verify on the node: is all as well as it was before the hop, and does it stay so?"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_context, service
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_context import Context
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_workloads import compare
from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import FAILING
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, write_file

POLL_S = 2.0
NOTE_WITHIN_S = 60.0


def note_before(context: Context) -> None:
    """Write down what is ready now; a note of an earlier try stays, as after a reboot less may be ready.

    Raises:
        EdgeError: the API does not answer, the node is not Ready, or a check of the user fails already now.
    """
    if read_or_none(context.noted) is not None:
        return
    node, site, version = context.node, context.plan.site, context.hop.from_version
    until = node.clock.boot()[1] + NOTE_WITHIN_S
    while True:
        before = node.cluster.look(site, version)
        wrong = [message for _, message, health in before["unmet"] if health == FAILING]
        wrong += [] if wrong else _failed_checks(context)
        if not wrong:
            break
        if node.clock.boot()[1] >= until:
            message = "not all is well before the upgrade: {0}".format("; ".join(wrong))
            raise EdgeError("E-UPGRADE-BEFORE", message, "Put the site right first, then upgrade it.")
        node.clock.sleep(POLL_S)
    write_file(context.noted, json.dumps(before, sort_keys=True).encode() + b"\n", 0o600, 0o700)


def await_health(context: Context, version: str, is_back: bool) -> dict[str, Any]:
    """Wait until nothing is worse than before, and has been so for the whole of the soak time.

    Raises:
        EdgeError: it is not within the time, or k3s keeps crashing; with the sentences that say what is wrong.
    """
    plan, node = context.plan, context.node
    before = json.loads((read_or_none(context.noted) or b"").decode())
    activation_context.release()
    if not node.services.is_running():
        node.services.start(min(plan.start_timeout_s, context.left_s))
    began_up = node.clock.boot()[1]
    first_crashes = crashes = node.services.restarts()
    well_since = None
    wrong: list[str] = []
    while True:
        wrong = _worse(context, version, before, is_back)
        now_crashes, up = node.services.restarts(), node.clock.boot()[1]
        if now_crashes > crashes and not wrong:
            wrong = ["k3s has just restarted by itself"]
        crashes = now_crashes
        if crashes - first_crashes >= service.CRASHES:
            wrong = [f"k3s crashed {crashes - first_crashes} times", *wrong]
            raise _failure(version, up - began_up, wrong)
        if wrong:
            well_since = None
        elif well_since is None:
            well_since = up
        if well_since is not None and up - well_since >= plan.soak_s:
            wrong = [] if is_back else _missing_images(context) + _failed_checks(context)
            if not wrong:
                return {"waited_s": round(up - began_up, 1)}
        if up - began_up >= plan.verify_timeout_s + plan.soak_s:
            raise _failure(version, up - began_up, wrong or [f"it was not well for {plan.soak_s:.0f} s in a row"])
        node.clock.sleep(POLL_S)


def _worse(context: Context, version: str, before: dict[str, Any], is_back: bool) -> list[str]:
    return compare(before, context.node.cluster.look(context.plan.site, version), is_back)


def _missing_images(context: Context) -> list[str]:
    """All that the version needs, also what no pod waits for yet: without a registry nothing brings it later."""
    if not context.hop.images:
        return []
    there = context.node.cluster.images()
    if there is None:
        return ["containerd does not tell which images it has"]
    lacking = sorted(set(context.hop.images) - there)
    if not lacking:
        return []
    return ["images that {0} needs are missing: {1}".format(context.hop.to_version, ", ".join(lacking))]


def _failed_checks(context: Context) -> list[str]:
    found = [context.node.cluster.failed_check(each) for each in context.plan.checks]
    return [each for each in found if each]


def _failure(version: str, waited_s: float, wrong: list[str]) -> EdgeError:
    return EdgeError(
        "E-UPGRADE-VERIFY",
        "{0} was not well after {1:.0f} s: {2}".format(version, waited_s, "; ".join(wrong)[:1500]),
        "Read the journal of the upgrade and `journalctl -u k3s` on the node.",
    )
