# Apache License 2.0 (see LICENSE)
"""Bootstrap: from a bare host to a verified cluster, in one task."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap
short_description: Bring a node to one k3s version and configuration, and verify it
description:
  - Fence, preflight, converge, verify and report, in this order, in one call. Who is refused is left as it was.
  - If files are missing, or if it cannot tell whether the node's clock is ahead or the question came late, it returns
    after preflight and has changed nothing. The action plugin of the same name then sends the files, compares the
    clocks and calls it again.
  - Every step is a rename, so the module may be killed anywhere and run again.
  - An option that is not given is taken from the host variable that the README names.
author: The edgemgr authors
options:
  attempt:
    description: Number of the attempt, growing over all attempts of all sites (the fencing token).
    type: int
    required: true
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  site:
    description: Name of the site, which becomes the name of the node.
    type: str
    required: true
  version:
    description: The k3s version.
    type: str
    required: true
  arch:
    description: Architecture that the inventory expects (amd64, arm64, armhf); empty if it does not say.
    type: str
    default: ""
  artifacts:
    description: Files of the release, for all architectures.
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
  config:
    description: Options for config.yaml that the site's profile adds.
    type: dict
    default: {}
  order_key:
    description:
      - Public key with which the appliance signs work orders; the node then takes no other's from a stick.
      - Empty leaves the node as it is.
    type: str
    default: ""
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
    description: How long k3s may take to be up and to answer with the right version, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long to wait until all is well, in seconds. 0 looks once.
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
    description: Tells what would change, looks once at what is there, and does not fail for it.
    support: full
  diff_mode:
    description: Shows the files before and after.
    support: full
"""

EXAMPLES = r"""
- name: Bring up k3s
  edgemgr.edge.bootstrap:
    attempt: 1017
    site: store-0042
    version: v1.33.5+k3s1
    artifacts: "{{ edge_artifacts }}"
    config:
      disable: [traefik]
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
edge_sent_bytes:
  description: How many bytes the action plugin has sent.
  type: int
  returned: when files were missing
edge_observation:
  description: What was seen in the end, times in UTC, null for what could not be read. The README lists the fields.
  type: dict
  returned: when verify was reached
edge_waited_s:
  description: How long it took until all was well, in seconds.
  type: float
  returned: when verify was reached
edge_unmet:
  description: The conditions that did not hold in the end, each with code and message.
  type: list
  elements: dict
  returned: when verify failed, and in check mode
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
    converge,
    fence,
    node_facts,
    preflight,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → converge → verify; `steps` tells what was done also when it fails."""
    params = module.params
    began_at = time.time()
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        files = artifacts.for_arch(params["artifacts"], node_facts.arch())
        missing = artifacts.missing(files)
        checks = preflight.check_bootstrap(params, files, missing)
        pending = [] if params["is_prepared"] else _pending(params, began_at, [] if module.check_mode else missing)
        if not params["is_prepared"] and "clock" not in pending:
            off_s = clock.skew_s(began_at, params["asked_at"], began_at)
            checks.append(clock.check_clock(off_s, params["clock_skew_s"]))
        preflight.refuse(checks)
    steps.found.update(check.results(checks))
    if pending:
        return {"edge_pending": pending, "edge_missing": missing, "edge_clock": round(began_at, 3)}
    plan = SitePlan(params["site"], params["version"], files, params["config"])
    if module.check_mode:
        _foresee(plan, params, [each for each in files if each["digest"] in missing], steps)
        return verify.look(params["site"], params["version"])
    with fence.hold(params["attempt"], params["fence_wait_s"]):
        activation_state.withdraw_unbegun()
        converge.converge(plan, params, steps)
    with steps.step("verify"):
        return verify.await_health(
            params["site"],
            params["version"],
            params["verify_timeout_s"],
            # Superseded, it makes room instead of waiting on: nobody hears it any more.
            still_ours=lambda: fence.refuse_stale(params["attempt"]),
        )


def _pending(params: dict[str, Any], began_at: float, missing: list[str]) -> list[str]:
    """What only the controller can do, before anything is changed."""
    is_clock_open = clock.needs_answer(began_at, params["asked_at"], params["clock_skew_s"])
    return (["files"] if missing else []) + (["clock"] if is_clock_open else [])


def _foresee(plan: SitePlan, params: dict[str, Any], to_send: list[dict[str, Any]], steps: Steps) -> None:
    for each in to_send:
        steps.changes.append("send {0} ({1} bytes)".format(each["name"], each["size_bytes"]))
    converge.foresee(plan, params, steps)


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "site": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "arch": {"type": "str", "default": ""},
            "artifacts": artifacts.OPTIONS,
            "config": {"type": "dict", "default": {}},
            "order_key": {"type": "str", "default": ""},
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
