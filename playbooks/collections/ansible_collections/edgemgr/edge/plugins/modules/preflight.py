# Apache License 2.0 (see LICENSE)
"""Preflight: everything that would fail late, found early."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Find every reason against a change before anything is changed
description:
  - Takes part in the fence, then checks the node, the room on it and what of Kubernetes is there.
  - Changes nothing on the node, in check mode or not.
  - The clock is compared by the action plugin of the same name, which knows the controller's time.
author: The edgemgr authors
options:
  attempt:
    description: Number of the attempt, growing over all attempts of all sites (the fencing token).
    type: int
    required: true
  intent:
    description: What is going to be done. A reset has fewer conditions.
    type: str
    choices: [bootstrap, reset]
    default: bootstrap
  fence_wait_s:
    description: How long to wait for a surviving process of an older attempt, in seconds.
    type: int
    default: 60
  site:
    description: Name of the site, which becomes the name of the node.
    type: str
    required: true
  version:
    description: The k3s version that is wanted. Needed for a bootstrap.
    type: str
    default: ""
  arch:
    description: Architecture that the inventory expects (amd64, arm64, armhf); empty if it does not say.
    type: str
    default: ""
  artifacts:
    description: Files of the release, for all architectures.
    type: list
    elements: dict
    default: []
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
  min_free_mib:
    description: What has to stay free on each file system, in MiB.
    type: int
    default: 1024
  min_memory_mib:
    description: Memory that the node must have, in MiB.
    type: int
    default: 512
  clock_skew_s:
    description: How far the node's clock may be off, in seconds. Judged by the action plugin.
    type: int
    default: 60
attributes:
  check_mode:
    description: Gives the same result in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Refuse early what would fail late
  edgemgr.edge.preflight:
    attempt: 1017
    site: store-0042
    version: v1.33.5+k3s1
    artifacts: "{{ edge_artifacts }}"
"""

RETURN = r"""
edge_checks:
  description: Every check with its verdict (pass, warn, block) and what was found.
  type: list
  returned: when the fence let the attempt pass
edge_refusals:
  description: The blocking checks, each with code, message, hint and check. The task fails if there is one.
  type: list
  returned: when the fence let the attempt pass
edge_missing:
  description: Digests of the release's files for this node that its content store lacks.
  type: list
  returned: when the fence let the attempt pass
edge_arch:
  description: The node's architecture.
  type: str
  returned: when the fence let the attempt pass
edge_clock:
  description: The node's time, in seconds since 1970.
  type: float
  returned: when the fence let the attempt pass
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

import os
import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    artifacts,
    check,
    checks_host,
    checks_k3s,
    checks_room,
    fence,
    layout,
    marker,
    node_facts,
    node_network,
    service,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run


def body(module: AnsibleModule) -> dict[str, Any]:
    """Fence, then all checks at once."""
    params = module.params
    fence.look(params["attempt"], params["fence_wait_s"])
    arch = node_facts.arch()
    files = artifacts.for_arch(params["artifacts"], arch)
    missing = artifacts.missing(files)
    systemd = {
        "is_running": os.path.isdir("/run/systemd/system"),
        "has_systemctl": shutil.which("systemctl") is not None,
    }
    installed = marker.read()
    active = installed is not None and systemd["has_systemctl"] and service.state()["ActiveState"] == "active"
    owner = checks_k3s.check_owner(node_facts.foreign_k3s(), installed, _link(), active)
    if params["intent"] == "reset":
        checks = [
            checks_host.check_systemd(systemd),
            checks_host.check_root(os.geteuid()),
            owner,
        ]
    else:
        checks = checks_host.check_host(_host(systemd), params["min_memory_mib"])
        checks.append(
            checks_k3s.check_arch(
                arch, artifacts.one_name(params["arch"]), artifacts.with_one_name(params["artifacts"])
            )
        )
        checks.append(owner)
        checks.append(
            checks_k3s.check_version(params["version"], installed, os.path.isdir(layout.DATA_DIR + "/server"))
        )
        checks.append(checks_k3s.check_config(params["site"], params["config"], installed))
        checks.extend(_room(files, missing, installed, params))
        if not active:
            ports = checks_k3s.ports_of(params["config"])
            listeners = node_network.listeners(set(ports) | set(checks_k3s.INGRESS_PORTS))
            checks.extend(checks_k3s.check_ports(listeners, ports))
    return dict(
        check.results(checks), changed=False, edge_missing=missing, edge_arch=arch, edge_clock=round(time.time(), 3)
    )


def _link() -> str | None:
    if not os.path.lexists(layout.K3S):
        return None
    return os.readlink(layout.K3S) if os.path.islink(layout.K3S) else ""


def _host(systemd: dict[str, bool]) -> dict[str, Any]:
    return {
        "os": node_facts.os_release(),
        "systemd": systemd,
        "python": node_facts.python(),
        "uid": os.geteuid(),
        "cgroups": node_facts.cgroups(),
        "memory_bytes": node_facts.memory_bytes(),
        "has_default_route": node_network.has_default_route(),
        "selinux": node_facts.selinux(),
        "has_swap": len(node_facts.text("/proc/swaps").splitlines()) > 1,
        "firewalls": node_network.firewalls(),
    }


def _room(
    files: list[dict[str, Any]], missing: list[str], installed: dict[str, Any] | None, params: dict[str, Any]
) -> list[Check]:
    paths = (layout.CACHE_DIR, layout.PROGRAM_DIR, layout.RANCHER_DIR)
    file_systems = {path: node_facts.file_system(path) for path in paths}
    in_place = (
        installed is not None
        and installed["state"] == marker.INSTALLED
        and installed["version"] == params["version"]
        and os.path.exists(layout.binary(params["version"]))
    )
    devices = {path: facts["device"] for path, facts in file_systems.items()}
    need = checks_room.needed_bytes(files, set(missing), in_place, devices)
    return checks_room.check_room(file_systems, need, in_place, params["min_free_mib"])


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "intent": {"type": "str", "choices": ["bootstrap", "reset"], "default": "bootstrap"},
            "fence_wait_s": {"type": "int", "default": 60},
            "site": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "arch": {"type": "str", "default": ""},
            "artifacts": dict(artifacts.OPTIONS, required=False, default=[]),
            "config": {"type": "dict", "default": {}},
            "min_free_mib": {"type": "int", "default": 1024},
            "min_memory_mib": {"type": "int", "default": 512},
            "clock_skew_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    run(module, body)


if __name__ == "__main__":
    main()
