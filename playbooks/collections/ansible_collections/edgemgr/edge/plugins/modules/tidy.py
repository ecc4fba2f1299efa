# Apache License 2.0 (see LICENSE)
"""Tidy: remove what old versions of k3s have left, and give back the room of a datastore that was larger once."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: tidy
short_description: Remove what old versions of k3s have left on a node
description:
  - Removes binaries of versions other than the installed one and the one before it, and directories into which k3s
    unpacked itself other than C(current) and C(previous), if no process, mount, link or configuration names them.
  - With I(vacuum) the SQLite datastore is exchanged for a compact copy of itself, if that gives back enough. k3s is
    stopped for it, containers go on. The copy is checked first, and the old one comes back if k3s does not start.
  - Refuses while an upgrade of the node has not ended.
  - An attempt that was cut off is finished by the next one.
author: The edgemgr authors
options:
  site:
    description: Name of the site, which is the name of the node.
    type: str
    required: true
  attempt:
    description: Number of the attempt (the fencing token).
    type: int
    required: true
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  vacuum:
    description: Make the datastore as small as its contents, if it has much room that it does not use.
    type: bool
    default: false
  min_free_mib:
    description: What has to stay free on the file system, in MiB.
    type: int
    default: 1024
  start_timeout_s:
    description: How long k3s may take to be up and answer with the right version, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long to wait until all is well, in seconds. 0 looks once.
    type: int
    default: 300
attributes:
  check_mode:
    description: Tells what would be removed, and whether the datastore would be made smaller.
    support: full
"""

EXAMPLES = r"""
- name: Remove what old versions have left
  edgemgr.edge.tidy:
    site: store-0042
    attempt: 1021
"""

RETURN = r"""
edge_freed_bytes:
  description: How much became free.
  type: int
  returned: success, except in check mode
edge_still_used:
  description: Directories of old versions that something runs from or names, and that were left.
  type: list
  elements: str
  returned: success
edge_steps:
  description: What was done, in order, each with step, seconds and changed.
  type: list
  elements: dict
  returned: always
edge_changes:
  description: What was (or would be) done.
  type: list
  elements: str
  returned: always
edge_checks:
  description: All checks of preflight, each with check, verdict and detail.
  type: list
  elements: dict
  returned: when preflight came to its end
edge_refusals:
  description: Why nothing was done, each with code, message, hint and check.
  type: list
  elements: dict
  returned: when preflight refused
edge_observation:
  description: What the node and its cluster look like now.
  type: dict
  returned: success, and when the cluster is not healthy in the end
edge_code:
  description: Stable code of the failure.
  type: str
  returned: failed
edge_hint:
  description: What to do next.
  type: str
  returned: failed
edge_retry:
  description: Whether the same request can succeed later, never or budgeted.
  type: str
  returned: failed
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_state,
    check,
    fence,
    marker,
    observation,
    preflight,
    tidy_leftovers,
    tidy_vacuum,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → remove → vacuum → verify; `steps` tells what was done also when it fails."""
    params = module.params
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        checks = [
            *preflight.check_node(min_memory_mib=0),
            preflight.check_upgrade(is_kept=True),
            preflight.check_token(),
            _check_installed((marker.read() or {}).get("state")),
        ]
        preflight.refuse(checks)
    steps.found.update(check.results(checks))
    version = str((marker.read() or {})["version"])
    if module.check_mode:
        return _foresee(params, steps)
    # Whoever ends this attempt must not end k3s' way back up with it.
    with fence.hold(params["attempt"], params["fence_wait_s"], lives_on=True):
        activation_state.withdraw_unbegun()
        preflight.refuse([preflight.check_upgrade(is_kept=True)])
        is_restarted = _tidy(params, version, steps)
    if not is_restarted:
        return {"edge_observation": observation.observe(params["site"], "", set())[0]}
    with steps.step("verify"):
        return verify.await_health(
            params["site"],
            version,
            params["verify_timeout_s"],
            still_ours=lambda: fence.refuse_stale(params["attempt"]),
        )


def _check_installed(state: Any) -> check.Check:
    if state == marker.INSTALLED:
        return check.passed("installed", "edgemgr has installed this k3s")
    return check.blocked(
        "installed",
        "E-TIDY-UNFINISHED",
        "edgemgr has not installed k3s here, or has not finished it",
        "Bootstrap the site first.",
    )


def _foresee(params: dict[str, Any], steps: Steps) -> dict[str, Any]:
    unused, steps.found["edge_still_used"] = tidy_leftovers.find()
    steps.changes += ["remove " + path for path in unused]
    if params["vacuum"] and tidy_vacuum.is_worth_it(*tidy_vacuum.free_bytes()):
        steps.changes.append("make the datastore smaller")
    return {"edge_observation": observation.observe(params["site"], "", set())[0]}


def _tidy(params: dict[str, Any], version: str, steps: Steps) -> bool:
    """Do it; whether k3s was started."""
    was_cut = tidy_vacuum.was_cut()
    if was_cut:
        with steps.step("resume"):
            steps.changes.append("start k3s")
            tidy_vacuum.finish_cut(version, params["start_timeout_s"])
    steps.found["edge_freed_bytes"] = 0
    with steps.step("remove"):
        unused, steps.found["edge_still_used"] = tidy_leftovers.find()
        for path in unused:
            steps.found["edge_freed_bytes"] += tidy_leftovers.remove(path)
            steps.changes.append("remove " + path)
    free, whole = tidy_vacuum.free_bytes() if params["vacuum"] else (0, 0)
    if not tidy_vacuum.is_worth_it(free, whole):
        return was_cut
    with steps.step("vacuum"):
        tidy_vacuum.refuse_without_room(whole, free, params["min_free_mib"])
        steps.changes += ["stop k3s", "make the datastore smaller", "start k3s"]
        tidy_vacuum.vacuum(version, params["start_timeout_s"])
        steps.found["edge_freed_bytes"] += max(0, whole - tidy_vacuum.free_bytes()[1])
    return True


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "vacuum": {"type": "bool", "default": False},
            "min_free_mib": {"type": "int", "default": 1024},
            "start_timeout_s": {"type": "int", "default": 300},
            "verify_timeout_s": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
