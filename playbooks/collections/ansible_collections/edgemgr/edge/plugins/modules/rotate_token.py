# Apache License 2.0 (see LICENSE)
"""Rotate the token: have k3s draw a new one, and go back to the old one if it does not come through."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: rotate_token
short_description: Give k3s a new server token
description:
  - Fence, preflight, copy, rotate, restart and verify, in this order.
  - k3s seals the authorities of the cluster in its datastore with the token, so datastore and token are copied first,
    while k3s runs. The running k3s draws the new one itself (C(k3s token rotate)); no token is given to a program as
    an argument, and none is told.
  - k3s is restarted. It has to answer as the same cluster, with its node Ready, and what was ready before has to be
    ready again; otherwise the old token is put back, with its datastore where that no longer opens with it.
  - Refuses where k3s is given its token by a file or its environment, since that would win at the next start, and
    where the datastore does not open with the token at hand.
  - An attempt that was cut off anywhere is finished or undone by the next one, by what lies on the node. One of an
    operation that has come to its end does nothing.
  - Containers go on. Machines that joined with the old token need the new one. Backups of before need the old one,
    and hold it.
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
  number:
    description:
      - Number of the first attempt of the same operation, by which a repeat knows what an attempt has begun.
      - 0 is the attempt itself.
    type: int
    default: 0
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  min_free_mib:
    description: What has to stay free on the file system, in MiB.
    type: int
    default: 1024
  start_timeout_s:
    description: How long k3s may take to be up and answer, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long to wait until all is ready again, in seconds. 0 looks once.
    type: int
    default: 300
attributes:
  check_mode:
    description: Tells whether a new token could be made, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Give k3s a new token
  edgemgr.edge.rotate_token:
    site: store-0042
    attempt: 1020
"""

RETURN = r"""
edge_token_number:
  description: By which the token at hand is known, the number of the attempt that made it. Never the token itself.
  type: int
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
  returned: success
edge_log:
  description: The last lines that k3s logged.
  type: list
  elements: str
  returned: when k3s did not come through
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
    preflight,
    token_checks,
    token_journal,
    token_record,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.module_utils.token_rotation import Rotation


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → copy → rotate → restart → verify; `steps` tells what was done also when it fails."""
    params = module.params
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        installed = marker.read() or {}
        version = str(installed.get("version", ""))
        rotation = Rotation(params, version, steps)
        checks = [
            *preflight.check_node(min_memory_mib=0),
            preflight.check_upgrade(is_kept=True),
            *token_checks.check_installed(installed),
        ]
        preflight.refuse(checks)
        # After one that was cut off k3s may stand still, or have a token and a datastore that do not fit.
        if not rotation.is_done() and not token_journal.is_unfinished():
            checks += token_checks.check_begin(params["site"], version, params["min_free_mib"])
            preflight.refuse(checks)
    steps.found.update(check.results(checks))
    if module.check_mode:
        steps.changes += [] if rotation.is_done() else ["make a new token", "restart k3s"]
    elif not rotation.is_done():
        # Whoever ends this attempt must not end k3s' way back up with it.
        with fence.hold(params["attempt"], params["fence_wait_s"], lives_on=True):
            activation_state.withdraw_unbegun()
            preflight.refuse([preflight.check_upgrade(is_kept=True)])
            _rotate(rotation, params, version)
    return {**verify.look(params["site"], version), "edge_token_number": token_record.number()}


def _rotate(rotation: Rotation, params: dict[str, Any], version: str) -> None:
    """One that was cut off comes to its end first. The fence was not held when all was looked at."""
    if rotation.is_done() or rotation.finish_cut():
        return
    preflight.refuse(token_checks.check_begin(params["site"], version, params["min_free_mib"]))
    rotation.rotate()


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "attempt": {"type": "int", "required": True},
            "number": {"type": "int", "default": 0},
            "fence_wait_s": {"type": "int", "default": 60},
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
