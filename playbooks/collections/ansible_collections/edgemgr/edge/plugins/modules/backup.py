# Apache License 2.0 (see LICENSE)
"""Backup: the cluster's state of one moment, kept on the node."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Take a backup of the cluster and keep it on the node
description:
  - Copies k3s' datastore while k3s runs (SQLite by its online backup, etcd by C(k3s etcd-snapshot)), with the token,
    certificates, credentials, node password, configuration and manifests that belong to it.
  - Checks the copy, writes a manifest with the sha256 of everything, and only then gives the backup its name,
    C(/var/lib/edgemgr/backups/NUMBER). Keeps the newest ones.
  - Volumes are no part of it. Refuses while an upgrade of the node has not ended.
  - Run again for the same number it hashes the backup that is there and tells of it.
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
      - Number of the first attempt of the same operation, which becomes the backup's name. A repeat thus finds what an
        attempt has taken whose answer was lost. 0 is the attempt itself.
    type: int
    default: 0
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  keep:
    description: How many backups the node keeps, at least 1; older ones are removed once the new one is complete.
    type: int
    default: 3
  min_free_mib:
    description: What has to stay free on the file system, in MiB.
    type: int
    default: 1024
attributes:
  check_mode:
    description: Tells whether there is a datastore to save and room for it.
    support: full
"""

EXAMPLES = r"""
- name: Take a backup
  edgemgr.edge.backup:
    site: store-0042
    attempt: 1019
"""

RETURN = r"""
edge_backup:
  description:
    - The backup, with attempt, datastore, k3s_version, revision, taken_at, digest (the sha256 of its manifest) and
      size_bytes.
  type: dict
  returned: success, except in check mode
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
edge_observation:
  description: What the node and its cluster look like now.
  type: dict
  returned: success
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
from ansible_collections.edgemgr.edge.plugins.module_utils import backup_place, backup_take, fence, observation
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → take → prune → look; in check mode only tell."""
    params = module.params
    attempt = params["attempt"]
    number = params["number"] or attempt
    with steps.step("preflight"):
        fence.look(attempt, params["fence_wait_s"])
        backup_take.refuse_half_way()
        is_there = number in backup_place.whole()
        if not is_there:
            backup_take.refuse_without_room(params["min_free_mib"])
    if module.check_mode:
        steps.changes += [] if is_there else ["take backup " + backup_place.path(number)]
    else:
        with fence.hold(attempt, params["fence_wait_s"]):
            with steps.step("take"):
                steps.found["edge_backup"] = backup_take.take(params["site"], number)
                steps.changes += [] if is_there else ["take backup " + backup_place.path(number)]
            with steps.step("prune"):
                gone = backup_place.prune(params["keep"])
                steps.changes += ["remove " + backup_place.path(each) for each in gone]
    return {"edge_observation": observation.observe(params["site"], "", set())[0]}


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "attempt": {"type": "int", "required": True},
            "number": {"type": "int", "default": 0},
            "fence_wait_s": {"type": "int", "default": 60},
            "keep": {"type": "int", "default": 3},
            "min_free_mib": {"type": "int", "default": 1024},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
