# Apache License 2.0 (see LICENSE)
"""Report: verify what runs and say what was seen."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Verify that the cluster is what it should be and return an Observation
description:
  - Waits, within bounds, until the API answers with the wanted version, the node is Ready with a sign of life since
    k3s was started, and the workloads that k3s brings along are available.
  - Looks at what runs, not at what is installed. Changes nothing.
  - The Observation is returned also when the task fails.
author: The edgemgr authors
options:
  site:
    description: Name of the site, which is the name of the node.
    type: str
    required: true
  version:
    description: The k3s version that has to run; empty if any will do.
    type: str
    default: ""
  timeout_s:
    description: How long to wait until all is well, in seconds. 0 looks once.
    type: int
    default: 300
attributes:
  check_mode:
    description: Looks once and does not fail, since nothing was changed that could be verified.
    support: full
"""

EXAMPLES = r"""
- name: Verify and report
  edgemgr.edge.report:
    site: store-0042
    version: v1.33.5+k3s1
"""

RETURN = r"""
edge_observation:
  description: What was seen, times in UTC, null for what could not be read. The README lists the fields.
  type: dict
  returned: always
edge_waited_s:
  description: How long it took until all was well, in seconds.
  type: float
  returned: always
edge_unmet:
  description: The conditions that did not hold in the end, each with code and message.
  type: list
  elements: dict
  returned: failed, and in check mode
edge_log:
  description: The last lines that k3s logged.
  type: list
  elements: str
  returned: failed
edge_code:
  description: Stable code of the first condition that did not hold.
  type: str
  returned: failed
edge_hint:
  description: What to do next.
  type: str
  returned: failed
edge_retry:
  description: Whether the same request can succeed later.
  type: str
  returned: failed
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import marker, observation, service, verify
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError, run


def body(module: AnsibleModule) -> dict[str, Any]:
    """Look until all is well or the time is over."""
    params = module.params
    if module.check_mode:
        return verify.look(params["site"], params["version"])
    if marker.read() is None and service.state()["LoadState"] == "not-found":
        raise EdgeError(
            "E-VERIFY-ABSENT",
            "k3s is not installed on {0}".format(params["site"]),
            "Bootstrap the site.",
            NEVER,
            edge_observation=observation.observe(params["site"], "", set())[0],
        )
    return verify.await_health(params["site"], params["version"], params["timeout_s"], still_ours=lambda: None)


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "timeout_s": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    run(module, body)


if __name__ == "__main__":
    main()
