# Apache License 2.0 (see LICENSE)
"""Documentation of the action plugin `artifacts`, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts
short_description: Bring missing files to the node's content store
description:
  - Sends the files that the node lacks in chunks of 4 MiB over the task's own connection.
  - After a cut the next attempt sends only the chunks that have not come.
  - A file is compared with its sha256 on the node before it gets its name.
  - Does nothing on the node, and costs no connection, when nothing is missing.
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
  artifacts:
    description: Files of the release, each with part, arch, name, digest, size_bytes and path (on the controller).
    type: list
    elements: dict
    required: true
  missing:
    description: The digests to bring, as preflight has found them.
    type: list
    elements: str
    required: true
attributes:
  action:
    description: Runs on the controller.
    support: full
  check_mode:
    description: Tells what would be sent.
    support: full
  diff_mode:
    description: Lists the files.
    support: full
"""

EXAMPLES = r"""
- name: Bring what is missing
  edgemgr.edge.artifacts:
    attempt: 1017
    artifacts: "{{ edge_artifacts }}"
    missing: "{{ preflight_result.edge_missing }}"
"""

RETURN = r"""
edge_sent_bytes:
  description: How many bytes were sent.
  type: int
  returned: success
edge_elapsed_s:
  description: How long it took, in seconds.
  type: float
  returned: when something was sent
"""
