# Apache License 2.0 (see LICENSE)
"""Restore: a cluster as a backup has it, on its own node or on one that replaces it."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Bring a cluster back from a backup, on the same node or on an empty one
description:
  - Fence, preflight, place, stop, exchange, start and verify, in this order. The k3s version is that of the backup;
    an empty node gets it from the files of the release, as in a bootstrap.
  - Datastore, token, certificates, credentials, manifests, configuration and node password come from the backup. What
    was in their places stays beside them until the next restore. Volumes are left as they are.
  - When what was restored does not come up as the same cluster, what was there before is put back and started.
  - The backup is one that the node kept itself, or one whose files the appliance has sent to the content store.
    Those are removed when they were used.
  - If files of the release are missing, or if it cannot tell whether the node's clock is wrong, it returns after
    preflight and has changed nothing, and the action plugin calls it again, as in a bootstrap.
  - May be killed anywhere and run again.
author: The edgemgr authors
options:
  attempt:
    description: Number of the attempt, growing over all attempts of all sites (the fencing token).
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
  site:
    description: Name of the site, which is the name of the node.
    type: str
    required: true
  backup_attempt:
    description: The backup, by the number under which it was taken.
    type: int
    required: true
  backup_digest:
    description: The sha256 of its manifest.
    type: str
    required: true
  version:
    description: The k3s version of the backup.
    type: str
    required: true
  arch:
    description: Architecture that the inventory expects (amd64, arm64, armhf); empty if it does not say.
    type: str
    default: ""
  artifacts:
    description: Files of the release, for all architectures. Without them the node must have that version.
    type: list
    elements: dict
    required: true
    suboptions:
      part:
        description: What the file is.
        type: str
        required: true
        choices: [binary, images]
      arch:
        description: Architecture, as in the file's name.
        type: str
        required: true
      name:
        description: Name of the file as published.
        type: str
        required: true
      digest:
        description: The file's sha256, as hex digits.
        type: str
        required: true
      size_bytes:
        description: Size of the file.
        type: int
        required: true
      path:
        description: The file on the controller.
        type: str
  min_free_mib:
    description: What has to stay free on each file system, in MiB.
    type: int
    default: 1024
  min_memory_mib:
    description: Memory that the node must have, in MiB.
    type: int
    default: 512
  clock_skew_s:
    description: How far the node's clock may be off, in seconds.
    type: int
    default: 60
  start_timeout_s:
    description: How long k3s may take to be up, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long to wait until all is well, in seconds.
    type: int
    default: 300
  asked_at:
    description: The controller's time in seconds since 1970. The action plugin fills it in.
    type: float
    default: 0.0
  is_prepared:
    description: The files were sent and the clocks compared. The action plugin fills it in.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells whether the backup could be restored, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Bring the cluster back
  edgemgr.edge.restore:
    attempt: 1020
    site: store-0042
    backup_attempt: 1019
    backup_digest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    version: v1.33.5+k3s1
    artifacts: "{{ edge_artifacts }}"
"""

RETURN = r"""
edge_steps:
  description: What was done, in order, each with step, seconds and changed.
  type: list
  elements: dict
  returned: always
edge_changes:
  description: What was (or would be) changed, in words.
  type: list
  elements: str
  returned: always
edge_checks:
  description: Every check of preflight with its verdict (pass, warn, block) and what was found.
  type: list
  elements: dict
  returned: when the fence let the attempt pass
edge_refusals:
  description: The blocking checks, each with code, message, hint and check. The task fails if there is one.
  type: list
  elements: dict
  returned: when the fence let the attempt pass
edge_observation:
  description: What was seen in the end. The README lists the fields.
  type: dict
  returned: success
edge_waited_s:
  description: How long it took until all was well, in seconds.
  type: float
  returned: success
edge_kept:
  description: Where the state from before lies until the next restore.
  type: list
  elements: str
  returned: success
edge_log:
  description: The last lines that k3s logged.
  type: list
  elements: str
  returned: when k3s does not start or does not get well
edge_pending:
  description: What the controller has to do first, C(files) or C(clock). The action plugin does it.
  type: list
  elements: str
  returned: when there is something, to the action plugin
edge_missing:
  description: Digests of the files to send.
  type: list
  elements: str
  returned: with C(edge_pending)
edge_clock:
  description: The node's time when it began, in seconds since 1970.
  type: float
  returned: with C(edge_pending)
edge_code:
  description: Stable code of the failure (of the first refusal).
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
    artifacts,
    check,
    clock,
    fence,
    node_facts,
    preflight,
    restore_checks,
    restore_course,
    restore_source,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.observation import observe
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → the course of a restore; in check mode only tell."""
    params = module.params
    began_at = time.time()
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        restore_checks.refuse_during_upgrade()
        source = restore_source.find(params["backup_attempt"], params["backup_digest"])
        files = artifacts.for_arch(params["artifacts"], node_facts.arch())
        missing = artifacts.missing(files)
        checks = restore_checks.check_restore(params, source, files, missing)
        pending = [] if params["is_prepared"] else _pending(params, began_at, [] if module.check_mode else missing)
        if not params["is_prepared"] and "clock" not in pending:
            off_s = clock.skew_s(began_at, params["asked_at"], began_at)
            checks.append(clock.check_clock(off_s, params["clock_skew_s"]))
        preflight.refuse(checks)
    steps.found.update(check.results(checks))
    if pending:
        return {"edge_pending": pending, "edge_missing": missing, "edge_clock": round(began_at, 3)}
    if module.check_mode:
        steps.changes.append("put in the backup of attempt {0}".format(params["backup_attempt"]))
        return {"edge_observation": observe(params["site"], "", set())[0]}
    plan = SitePlan(params["site"], params["version"], files, {}) if files else None
    # Canceled in the middle it would leave k3s down: it goes on to its end, the new state or the old one.
    with fence.hold(params["attempt"], params["fence_wait_s"], lives_on=True):
        activation_state.withdraw_unbegun()
        return restore_course.restore(source, plan, params, steps)


def _pending(params: dict[str, Any], began_at: float, missing: list[str]) -> list[str]:
    """What only the controller can do, before anything is changed."""
    is_clock_open = clock.needs_answer(began_at, params["asked_at"], params["clock_skew_s"])
    return (["files"] if missing else []) + (["clock"] if is_clock_open else [])


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "number": {"type": "int", "default": 0},
            "fence_wait_s": {"type": "int", "default": 60},
            "site": {"type": "str", "required": True},
            "backup_attempt": {"type": "int", "required": True},
            "backup_digest": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "arch": {"type": "str", "default": ""},
            "artifacts": artifacts.OPTIONS,
            "min_free_mib": {"type": "int", "default": 1024},
            "min_memory_mib": {"type": "int", "default": 512},
            "clock_skew_s": {"type": "int", "default": 60},
            "start_timeout_s": {"type": "int", "default": 300},
            "verify_timeout_s": {"type": "int", "default": 300},
            "asked_at": {"type": "float", "default": 0.0},
            "is_prepared": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
