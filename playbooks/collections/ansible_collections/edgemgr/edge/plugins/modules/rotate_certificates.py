# Apache License 2.0 (see LICENSE)
"""Rotate certificates: have k3s renew its leaf certificates before they end."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: rotate_certificates
short_description: Have k3s renew its leaf certificates
description:
  - k3s renews at its start what ends within 120 days (before May 2025, 90), with the keys that there are. So what is
    due is renewed by a restart; where nothing is due, nothing is done.
  - With I(new_keys) k3s is stopped, C(k3s certificate rotate) makes new keys and certificates for all leaves, and k3s
    is started. If it does not come up with them, the old ones are put back.
  - Waits until the API answers, reads back the new dates, and waits until the cluster is healthy. Containers go on.
  - Refuses while an upgrade of the node has not ended, and where an authority has ended. Authorities are not renewed.
  - An attempt that was cut off between stop and start is finished by the next one.
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
  new_keys:
    description: Make new keys for all leaves, also where nothing is due.
    type: bool
    default: false
  start_timeout_s:
    description: How long k3s may take to be up and answer, and then to renew everything, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long to wait until all is well, in seconds. 0 looks once.
    type: int
    default: 300
attributes:
  check_mode:
    description: Tells which certificates would be renewed.
    support: full
"""

EXAMPLES = r"""
- name: Renew certificates that are due
  edgemgr.edge.rotate_certificates:
    site: store-0042
    attempt: 1020
"""

RETURN = r"""
edge_certificates:
  description:
    - The leaf certificates, as file below k3s' data directory and the dates on which it ended and ends now, in UTC.
      Only those that were renewed.
  type: list
  elements: dict
  returned: when something was renewed
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

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_state,
    certificate_renewal,
    certificate_rotation,
    check,
    fence,
    marker,
    node_certificates,
    observation,
    preflight,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → renew → read back → verify; `steps` tells what was done also when it fails."""
    params = module.params
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        installed = marker.read() or {}
        found = node_certificates.read()
        is_installed, was_cut = installed.get("state") == marker.INSTALLED, certificate_rotation.was_cut()
        checks = [
            *preflight.check_node(min_memory_mib=0),
            preflight.check_upgrade(is_kept=True),
            preflight.check_token(),
            certificate_renewal.check(found, is_installed, was_cut, time.time()),
        ]
        preflight.refuse(checks)
    steps.found.update(check.results(checks))
    version = str(installed["version"])
    if module.check_mode:
        steps.changes += ["renew " + name for name in _chosen(found.leaves, version, params)]
        return verify.look(params["site"], version)
    if not _chosen(found.leaves, version, params) and not was_cut:
        return {"edge_observation": observation.observe(params["site"], "", set())[0]}
    # Whoever ends this attempt must not end k3s' way back up with it.
    with fence.hold(params["attempt"], params["fence_wait_s"], lives_on=True):
        activation_state.withdraw_unbegun()
        preflight.refuse([preflight.check_upgrade(is_kept=True)])
        _renew(params, version, steps)
    with steps.step("verify"):
        return verify.await_health(
            params["site"],
            version,
            params["verify_timeout_s"],
            still_ours=lambda: fence.refuse_stale(params["attempt"]),
        )


def _chosen(leaves: dict[str, float], version: str, params: dict[str, Any]) -> list[str]:
    return sorted(leaves) if params["new_keys"] else certificate_renewal.due(leaves, parse(version), time.time())


def _renew(params: dict[str, Any], version: str, steps: Steps) -> None:
    before = node_certificates.read()
    chosen = _chosen(before.leaves, version, params)
    if certificate_rotation.was_cut():
        certificate_rotation.finish_cut(version, params["start_timeout_s"], steps)
    if params["new_keys"]:
        certificate_rotation.rotate(version, params["start_timeout_s"], steps)
    elif chosen:
        certificate_rotation.restart(version, params["start_timeout_s"], steps)
    with steps.step("read back"):
        after = certificate_rotation.await_new(before, chosen, params["start_timeout_s"])
        certificate_rotation.check_shown(time.time())
    renewed = [name for name in sorted(before.leaves) if before.digests[name] != after.digests.get(name)]
    day = certificate_renewal.day
    steps.found["edge_certificates"] = [
        {"file": name, "before": day(before.leaves[name]), "after": day(after.leaves[name])}
        for name in renewed
        if name in after.leaves
    ]


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "new_keys": {"type": "bool", "default": False},
            "start_timeout_s": {"type": "int", "default": 300},
            "verify_timeout_s": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
