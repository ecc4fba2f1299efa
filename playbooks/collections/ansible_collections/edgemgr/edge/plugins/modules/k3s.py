# Apache License 2.0 (see LICENSE)
"""k3s: one node, brought to one version and configuration, and running it."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s
short_description: Converge a node to one k3s version and configuration
description:
  - Places the binary, the image archive, the configuration, the service and the scripts.
  - Then starts or restarts k3s if something that it runs with has changed.
  - Every step is a rename, so the module may be killed anywhere and run again.
  - Files come from the node's content store and are hashed before they are used.
author: The edgemgr authors
options:
  attempt:
    description: Number of the attempt (the fencing token).
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
  artifacts:
    description: Files of the release; those for the node's architecture are used.
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
  start_timeout_s:
    description: How long k3s may take to be up and to answer with the right version, in seconds.
    type: int
    default: 300
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the files before and after.
    support: full
"""

EXAMPLES = r"""
- name: Converge k3s
  edgemgr.edge.k3s:
    attempt: 1017
    site: store-0042
    version: v1.33.5+k3s1
    artifacts: "{{ edge_artifacts }}"
    config:
      disable: [traefik]
"""

RETURN = r"""
edge_changes:
  description: What was (or would be) changed, in words.
  type: list
  elements: str
  returned: success
edge_restarted:
  description: Whether k3s was started or restarted.
  type: bool
  returned: success
edge_log:
  description: The last lines that k3s logged.
  type: list
  elements: str
  returned: when k3s does not start
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

import datetime as dt
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    artifacts,
    fence,
    k3s_config,
    layout,
    marker,
    node_facts,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, EdgeError, run
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import Wanted

POLL_S = 1.0


def body(module: AnsibleModule) -> dict[str, Any]:
    """Plan, then carry out under the fence; in check mode only plan."""
    params = module.params
    if module.check_mode:
        fence.look(params["attempt"], params["fence_wait_s"])
        plan = _plan(params)
        todo = [each for each in plan.things if not each.is_there()]
        verb = _service_verb(plan, bool(todo))
        return _result(todo, plan.stale_archives(), verb, [each.diff() for each in todo])
    with fence.hold(params["attempt"], params["fence_wait_s"]):
        return _converge(_plan(params), params)


def _plan(params: dict[str, Any]) -> SitePlan:
    files = artifacts.for_arch(params["artifacts"], node_facts.arch())
    return SitePlan(params["site"], params["version"], files, params["config"])


def _converge(plan: SitePlan, params: dict[str, Any]) -> dict[str, Any]:
    todo = [each for each in plan.things if not each.is_there()]
    stale = plan.stale_archives()
    verb = _service_verb(plan, bool(todo))
    diffs = [each.diff() for each in todo]
    if todo or verb:
        # Before the first change: whoever comes after a kill knows whose k3s this is and that it may need a restart.
        _mark(plan, params, marker.INSTALLING, None)
    for thing in todo:
        thing.place()
    _enable(any(thing.path == layout.UNIT_FILE for thing in todo))
    if verb:
        deadline = time.monotonic() + params["start_timeout_s"]
        service.start(verb, params["start_timeout_s"])
        _await_version(params["version"], deadline)
    if todo or verb:
        _mark(plan, params, marker.INSTALLED, plan.digest)
    for path in stale:
        remove(path)
    return _result(todo, stale, verb, diffs)


def _service_verb(plan: SitePlan, will_change: bool) -> str:
    """`start`, `restart` or nothing."""
    installed = marker.read()
    applied = installed.get("applied") if installed else None
    if service.state()["ActiveState"] not in ("active", "activating", "reloading"):
        return "start"
    return "restart" if will_change or applied != plan.digest else ""


def _enable(unit_changed: bool) -> None:
    if unit_changed or service.state()["NeedDaemonReload"] == "yes":
        service.systemctl("daemon-reload")
    if service.state()["UnitFileState"] != "enabled":
        service.systemctl("enable", layout.UNIT)


def _await_version(version: str, deadline: float) -> None:
    """Wait until the API answers with this version: the file on disk says nothing about what runs."""
    while True:
        try:
            answer = KubeApi().read("/version")["gitVersion"]
        except KubeApiError as exc:
            answer = str(exc)
        if answer == version:
            return
        if time.monotonic() >= deadline:
            raise EdgeError(
                "E-K3S-VERSION",
                f"k3s is up, but {version} does not answer in time ({answer})",
                "Read `journalctl -u k3s` on the node; the next attempt waits again.",
                BUDGETED,
                edge_log=service.log_tail(),
            )
        time.sleep(POLL_S)


def _mark(plan: SitePlan, params: dict[str, Any], state: str, applied: str | None) -> None:
    before = marker.read() or {}
    found = before.get("found")
    if found is None:
        found = sorted(os.listdir(layout.CONFIG_DIR)) if os.path.isdir(layout.CONFIG_DIR) else []
    marker.write(
        state,
        params["version"],
        applied=applied,
        attempt=params["attempt"],
        disabled_components=sorted(k3s_config.disabled_components(plan.config)),
        changed_at=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        found=found,
        secrets_encryption=plan.config["secrets-encryption"],
        site=params["site"],
    )


def _result(todo: list[Wanted], stale: list[str], verb: str, diffs: list[dict[str, Any]]) -> dict[str, Any]:
    changes = ["place " + each.path for each in todo] + ["remove " + path for path in stale]
    if verb:
        changes.append(verb + " k3s")
    return {"changed": bool(changes), "edge_changes": changes, "edge_restarted": bool(verb), "diff": diffs}


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "site": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "artifacts": artifacts.OPTIONS,
            "config": {"type": "dict", "default": {}},
            "start_timeout_s": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    run(module, body)


if __name__ == "__main__":
    main()
