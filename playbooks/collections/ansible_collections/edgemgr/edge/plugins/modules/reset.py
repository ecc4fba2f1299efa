# Apache License 2.0 (see LICENSE)
"""Reset: the node as it was before edgemgr came."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: reset
short_description: Remove the k3s that edgemgr installed, with all its data
description:
  - Ends k3s and its containers, then removes the service, the configuration, the data (volumes included) and the
    files of edgemgr.
  - Refuses what is not a systemd node, and a k3s that edgemgr did not install, before anything is changed.
  - Leaves what was in C(/etc/rancher/k3s) before and a k3s that edgemgr did not install.
  - Leaves the record of attempts, without which a late older attempt could install everything again.
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
attributes:
  check_mode:
    description: Tells what would be removed.
    support: full
"""

EXAMPLES = r"""
- name: Remove k3s
  edgemgr.edge.reset:
    attempt: 1018
"""

RETURN = r"""
edge_steps:
  description: What was done, in order, each with step, seconds and changed.
  type: list
  elements: dict
  returned: always
edge_changes:
  description: What was (or would be) removed.
  type: list
  elements: str
  returned: always
edge_checks:
  description: Every check with its verdict (pass, warn, block) and what was found.
  type: list
  elements: dict
  returned: when the fence let the attempt pass
edge_refusals:
  description: The blocking checks, each with code, message, hint and check. The task fails if there is one.
  type: list
  elements: dict
  returned: when the fence let the attempt pass
edge_observation:
  description: What is left to report, the word that makes the attempt a success.
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

import os
import shutil
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    activation_state,
    check,
    fence,
    k3s_unit,
    layout,
    marker,
    node_facts,
    preflight,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError, run
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove, sync_directory, write_file
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps

KILLALL_TIMEOUT_S = 180
#: What bootstraps and stages have brought, and what was still coming.
STORE = (layout.STATE_DIR + "/cache", layout.INCOMING_DIR)
#: Backups hold every secret of the cluster; those that were pulled are safe on the appliance.
BACKUPS = (layout.STATE_DIR + "/backups", layout.STATE_DIR + "/outgoing")
RESTORE = layout.STATE_DIR + "/restore.json"
ORDERS = (layout.ORDER_KEYS, layout.NEWEST_ORDER, layout.RECEIPTS_DIR)
TREES = (
    layout.DATA_DIR,
    "/var/lib/kubelet",
    "/etc/rancher/node",
    "/run/k3s",
    "/run/flannel",
    "/var/lib/cni",
    layout.PROGRAM_DIR,
    layout.STATE_DIR + "/rotation",
    layout.STATE_DIR + "/token",
    *STORE,
    *BACKUPS,
)
FILES = (layout.UNIT_FILE, layout.KILLALL, layout.UNINSTALL)
PARENTS = ("/etc/rancher", layout.RANCHER_DIR)


def body(module: AnsibleModule, steps: Steps) -> dict[str, Any]:
    """Fence → preflight → remove; in check mode only tell."""
    params = module.params
    with steps.step("preflight"):
        fence.look(params["attempt"], params["fence_wait_s"])
        checks = preflight.check_reset()
        preflight.refuse(checks)
    steps.found.update(check.results(checks))
    if module.check_mode:
        steps.changes += ["remove " + path for path in _what_is_there()]
    else:
        with fence.hold(params["attempt"], params["fence_wait_s"]), steps.step("remove"):
            activation_state.withdraw_unbegun()
            there = _what_is_there()
            steps.changes += ["remove " + path for path in there]
            if there:
                _remove(marker.read())
    return {"edge_observation": {"health": "unknown", "health_reason": "k3s was removed"}}


def _what_is_there() -> list[str]:
    """Everything of ours on the node."""
    if marker.read() is None:
        candidates = [
            layout.PROGRAM_DIR,
            *STORE,
            *BACKUPS,
            *ORDERS,
            RESTORE,
        ]  # a bootstrap never got further, or a stick was here
    else:
        candidates = [layout.MARKER, layout.K3S, layout.CONFIG, *FILES, *TREES, *ORDERS, RESTORE, *_upgrades()]
    return [path for path in candidates if os.path.lexists(path)]


def _upgrades() -> list[str]:
    """Directories of upgrades: their plan and snapshots, and states that were put aside."""
    found = [activation_paths.directory()]
    for path in activation_paths.parts().values():
        directory, prefix = os.path.dirname(path), f".{os.path.basename(path)}.edgemgr-"
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        found += [directory + "/" + name for name in names if name.startswith(prefix)]
    return found


def _remove(installed: dict[str, Any] | None) -> None:
    if installed is not None:
        marker.write(**dict(installed, state=marker.REMOVING))
        _stop()
        _remove_configuration(installed.get("found") or [])
    _remove_upgrade_services()
    for path in (*FILES, layout.ORDER_KEYS, layout.NEWEST_ORDER, RESTORE):
        remove(path)
    for tool in layout.TOOLS:
        link = layout.LINK_DIR + "/" + tool
        if os.path.islink(link) and os.readlink(link) == "k3s":
            os.unlink(link)
    if os.path.islink(layout.K3S):
        os.unlink(layout.K3S)
    for tree in (*TREES, layout.RECEIPTS_DIR, *_upgrades()):
        _remove_tree(tree)
    if installed is not None:
        service.systemctl("daemon-reload")
    for parent in PARENTS:
        _remove_if_empty(parent)
    # Last of all: as long as the marker is there, a reset that was cut off can be run again.
    remove(layout.MARKER)
    if os.path.isdir(layout.STATE_DIR):
        sync_directory(layout.STATE_DIR)


def _remove_upgrade_services() -> None:
    """What starts an upgrade again at a boot, and what keeps k3s from starting in the middle of one."""
    if os.path.exists(activation_paths.boot_unit_file()):
        service.systemctl("disable", activation_paths.BOOT_UNIT)
    for path in (activation_paths.boot_unit_file(), activation_paths.guard_file()):
        remove(path)
    _remove_if_empty(os.path.dirname(activation_paths.guard_file()))


def _stop() -> None:
    """End k3s and its containers; with our own script even where somebody removed or changed the one on the node."""
    write_file(layout.KILLALL, k3s_unit.KILLALL.encode(), 0o755)
    if service.state()["LoadState"] != "not-found":
        service.systemctl("disable", "--now", layout.UNIT)
    subprocess.run(
        [layout.KILLALL], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=KILLALL_TIMEOUT_S, check=False
    )


def _remove_configuration(found: list[str]) -> None:
    if not os.path.isdir(layout.CONFIG_DIR):
        return
    for name in sorted(os.listdir(layout.CONFIG_DIR)):
        path = layout.CONFIG_DIR + "/" + name
        if name in found:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            _remove_tree(path)
        else:
            remove(path)
    _remove_if_empty(layout.CONFIG_DIR)


def _remove_tree(path: str) -> None:
    """Remove a directory, but never through something that is mounted below it."""
    mounted = [place for place in _mounts() if place.startswith(path + "/")]
    if mounted:
        raise EdgeError(
            "E-RESET-BUSY",
            f"{mounted[0]} is still mounted",
            f"See who uses it (`fuser -vm {mounted[0]}`) and run the reset again; a reboot helps.",
        )
    if os.path.ismount(path):  # a partition of its own: emptied, not removed
        for name in os.listdir(path):
            inner = path + "/" + name
            if os.path.isdir(inner) and not os.path.islink(inner):
                shutil.rmtree(inner)
            else:
                remove(inner)
    elif os.path.isdir(path):
        shutil.rmtree(path)


def _remove_if_empty(path: str) -> None:
    if os.path.isdir(path) and not os.path.ismount(path) and not os.listdir(path):
        os.rmdir(path)


def _mounts() -> list[str]:
    lines = node_facts.text("/proc/self/mounts").splitlines()
    return [line.split()[1].replace("\\040", " ") for line in lines]


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    steps = Steps()
    run(module, lambda module: body(module, steps), steps.results)


if __name__ == "__main__":
    main()
