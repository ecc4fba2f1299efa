# Apache License 2.0 (see LICENSE)
"""Upgrade: hand the node a plan that it carries out by itself, and learn how that went."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade
short_description: Start an upgrade that ends by itself, and tell how it stands
description:
  - Fence, preflight, then it writes the plan, starts the activation program detached and returns soon.
  - The program needs no link. It ends on the new version, or on the old one with the datastore that belongs to it.
  - Asked again for the same operation it starts nothing and returns journal and verdict. A program that is not at work
    although the plan has no verdict is started again.
  - As long as there is no verdict the result has C(edge_resume_s) and no C(edge_observation), and nothing has failed.
  - Files have to be in the node's content store already.
  - If it cannot tell whether the node's clock is ahead or the question came late, it returns after preflight with
    C(edge_pending), and changes nothing; the action plugin compares the clocks and calls it again.
  - Not supported on nodes whose k3s edgemgr did not install.
author: The edgemgr authors
options:
  attempt:
    description: Number of the attempt (the fencing token). That of the first attempt names the plan.
    type: int
    required: true
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  operation:
    description: What the controller calls the request; the same in all of its attempts.
    type: str
    required: true
  site:
    description: Name of the site, which is the name of the node.
    type: str
    required: true
  version:
    description: The k3s version to end on. A node that has it already, with the configuration, is left alone.
    type: str
    required: true
  refusal:
    description:
      - Why the controller has no way to that version, a dict with C(code), C(message) and C(hint); empty if it has one.
      - It is refused then, unless the operation was begun on this node before.
    type: dict
    default: {}
  opens_in_s:
    description:
      - How long it is until the hours of the upgrade begin, in seconds; 0 if it may begin.
      - Until then it is not begun. One that was begun before is told of as always.
    type: int
    default: 0
  hops:
    description: The versions to go through, one after the other, each with its own snapshot and gate.
    type: list
    elements: dict
    required: true
    suboptions:
      from_version:
        description: The version before.
        type: str
        required: true
      to_version:
        description: The version afterwards; the same one for a change of configuration alone.
        type: str
        required: true
      artifacts:
        description: Files of the release, as of C(bootstrap). A change of configuration alone can do without.
        type: list
        elements: dict
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
            description: The file on the controller; not used.
            type: str
      config:
        description: Options for config.yaml that the site's profile adds; if not given, the file stays as it is.
        type: dict
      images:
        description: Names of images that have to be there afterwards.
        type: list
        elements: str
  soak_s:
    description: How long all has to be well before a hop is accepted, in seconds.
    type: int
    default: 180
  start_timeout_s:
    description: How long k3s may take to start, in seconds.
    type: int
    default: 300
  verify_timeout_s:
    description: How long it may take until all is well again, in seconds, without the soak time.
    type: int
    default: 600
  deadline_s:
    description: How long a hop may take in all, in seconds of running time; then the node goes back.
    type: int
    default: 1200
  checks:
    description:
      - Checks of the user, which have to pass before and after. Each is a dict with C(name), C(timeout_s), and either
        C(url) with C(status) (200 if not given), or C(command) as a list of words.
    type: list
    elements: dict
    default: []
  wait_s:
    description: How long to wait for the verdict before returning, in seconds. The upgrade goes on in any case.
    type: int
    default: 0
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
  asked_at:
    description: The controller's time in seconds since 1970. The action plugin fills it in.
    type: float
    default: 0.0
  is_prepared:
    description: The clocks were compared. The action plugin fills it in.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells what would be done, and how an upgrade that was started stands.
    support: full
"""

EXAMPLES = r"""
- name: Upgrade k3s
  edgemgr.edge.upgrade:
    attempt: 1021
    operation: 0193f7a2-0000-7000-8000-000000000001
    site: store-0042
    version: v1.34.1+k3s1
    hops:
      - from_version: v1.33.5+k3s1
        to_version: v1.34.1+k3s1
        artifacts: "{{ edge_artifacts }}"
"""

RETURN = r"""
edge_activation:
  description:
    - How the upgrade stands, null when there was none. C(id), C(operation), C(state) (written, running, interrupted,
      finished), C(journal) (the events in order) and C(verdict).
    - A verdict has C(verdict) (accepted, rolled_back, needs_hands, refused), C(why), C(version) and C(hops).
  type: dict
  returned: always
edge_resume_s:
  description: There is no verdict yet; ask again after so many seconds. C(msg) says what the node is doing.
  type: int
  returned: while an upgrade is under way
edge_waits_s:
  description: Nothing was begun, as the hours of the upgrade have not come; they do after so many seconds.
  type: int
  returned: outside of the hours
edge_previous:
  description: The verdict of the activation before, which gives way to this one.
  type: dict
  returned: when one was started
edge_changes:
  description: What was (or would be) changed, in words.
  type: list
  elements: str
  returned: always
edge_steps:
  description: What the module did, in order, each with step, seconds and changed.
  type: list
  elements: dict
  returned: always
edge_checks:
  description: Every check of preflight with its verdict (pass, warn, block) and what was found.
  type: list
  elements: dict
  returned: when preflight was reached
edge_refusals:
  description: The blocking checks, each with code, message, hint and check. The task fails if there is one.
  type: list
  elements: dict
  returned: when preflight was reached
edge_observation:
  description: What was seen in the end, times in UTC, null for what could not be read. The README lists the fields.
  type: dict
  returned: when there is a verdict, or nothing to do
edge_pending:
  description: What the controller has to do first, C(clock). The action plugin does it.
  type: list
  elements: str
  returned: when there is something, to the action plugin
edge_clock:
  description: The node's time when it began, in seconds since 1970.
  type: float
  returned: with C(edge_pending)
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
    activation_course,
    activation_launch,
    activation_outcome,
    activation_paths,
    activation_plan,
    activation_preflight,
    activation_state,
    artifacts,
    check,
    fence,
    layout,
    marker,
    node_facts,
    observation,
    preflight,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError, run
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps

POLL_S = 1.0


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Tell how it stands, or start it."""
    params = module.params
    began_at = time.time()
    known = activation_state.ask()
    if known is not None and known["state"] == activation_state.INTERRUPTED and not module.check_mode:
        service.systemctl("start", "--no-block", activation_paths.BOOT_UNIT)
    if known is not None and known["state"] != activation_state.WRITTEN:
        if known["operation"] == params["operation"]:
            return _told(params, steps)
        if known["verdict"] is None:
            return activation_outcome.under_way(known, "the upgrade that was asked for before")
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        _refuse_without_way(params)
        if _is_there(params):
            return {"edge_activation": known, **_seen(params["site"], params["version"])}
        if params["opens_in_s"]:
            return {"edge_activation": known, "edge_waits_s": params["opens_in_s"], "msg": "its hours have not come"}
        plan = activation_plan.make(params, node_facts.arch())
        checks = activation_preflight.checks(params, plan, began_at)
        preflight.refuse(checks)
    if activation_preflight.is_clock_open(params, began_at):
        return {"edge_pending": ["clock"], "edge_clock": round(began_at, 3)}
    return _begun(module, steps, plan, checks, known)


def _begun(
    module: AnsibleModule,
    steps: Steps,
    plan: activation_plan.Plan,
    checks: list[check.Check],
    known: dict[str, Any] | None,
) -> dict[str, Any]:
    """Start it, unless it is only to be told what would be done."""
    params = module.params
    steps.found.update(check.results(checks), edge_previous=known and known["verdict"])
    steps.changes += [f"{hop.from_version} -> {hop.to_version}" for hop in plan.hops]
    if module.check_mode:
        return {"edge_activation": known}
    with steps.step("start"), fence.hold(params["attempt"], params["fence_wait_s"]):
        if not activation_state.is_under_way():  # another attempt may have been quicker
            activation_launch.install()
            activation_launch.write(plan)
            activation_launch.start(plan)
    return _told(params, steps)


def _refuse_without_way(params: dict[str, Any]) -> None:
    refusal = params["refusal"]
    if refusal:
        refusals = [dict(refusal, check="version")]
        raise EdgeError(refusal["code"], refusal["message"], refusal["hint"], NEVER, edge_refusals=refusals)


def _is_there(params: dict[str, Any]) -> bool:
    """Whether there is nothing to do: the version is installed, and the configuration, if one comes with it."""
    installed = marker.read() or {}
    if (installed.get("state"), installed.get("version")) != (marker.INSTALLED, params["version"]):
        return False
    if all(each["config"] is None for each in params["hops"]):
        return True
    text = read_or_none(layout.CONFIG)
    hops = activation_plan.make(params, node_facts.arch()).hops
    return all(hop.config is not None and hop.config.encode() == text for hop in hops)


def _told(params: dict[str, Any], steps: Steps) -> dict[str, Any]:
    """How it stands, after waiting for the end as long as was asked for."""
    with steps.step("wait"):
        until = time.monotonic() + params["wait_s"]
        known = activation_state.ask()
        while known is not None and known["verdict"] is None and time.monotonic() < until:
            time.sleep(POLL_S)
            known = activation_state.ask()
    if known is None or known["verdict"] is None or known["operation"] != params["operation"]:
        return activation_outcome.under_way(known, "the upgrade")
    verdict = known["verdict"]
    found = {"edge_activation": known, **_seen(params["site"], verdict["version"])}
    if verdict["verdict"] == activation_course.ACCEPTED:
        return found
    raise activation_outcome.failure(verdict, found)


def _seen(site: str, version: str) -> dict[str, Any]:
    disabled = set((marker.read() or {}).get("disabled_components", []))
    return {"edge_observation": observation.observe(site, version, disabled)[0]}


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "operation": {"type": "str", "required": True},
            "site": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "refusal": {"type": "dict", "default": {}},
            "opens_in_s": {"type": "int", "default": 0},
            "hops": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "from_version": {"type": "str", "required": True},
                    "to_version": {"type": "str", "required": True},
                    "artifacts": dict(artifacts.OPTIONS, required=False),
                    "config": {"type": "dict"},
                    "images": {"type": "list", "elements": "str"},
                },
            },
            "soak_s": {"type": "int", "default": 180},
            "start_timeout_s": {"type": "int", "default": 300},
            "verify_timeout_s": {"type": "int", "default": 600},
            "deadline_s": {"type": "int", "default": 1200},
            "checks": {"type": "list", "elements": "dict", "default": []},
            "wait_s": {"type": "int", "default": 0},
            "min_free_mib": {"type": "int", "default": 1024},
            "min_memory_mib": {"type": "int", "default": 512},
            "clock_skew_s": {"type": "int", "default": 60},
            "asked_at": {"type": "float", "default": 0.0},
            "is_prepared": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
