# Apache License 2.0 (see LICENSE)
"""The node's content store: which chunks of a file have come, and is the whole file right."""

# ruff: noqa: E402 (Ansible looks for the documentation before the imports)

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_store
short_description: Open and complete files in the node's content store
description:
  - Used by the action plugin C(bootstrap); a playbook calls that one.
  - The store holds files named by their sha256 in C(/var/lib/edgemgr/cache/sha256).
  - A file that is still coming ends in C(.part).
  - Takes the fence. The bytes themselves travel between two calls, without it.
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
  step:
    description:
      - C(open) makes the partial files and tells the hashes of the chunks that they already hold.
      - C(complete) compares the whole files with their digests and gives them their names.
    type: str
    required: true
    choices: [open, complete]
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      digest:
        description: The file's sha256, as hex digits.
        type: str
        required: true
      size_bytes:
        description: Size of the file.
        type: int
        required: true
attributes:
  check_mode:
    description: Not supported; the action plugin does not call it in check mode.
    support: none
"""

EXAMPLES = r"""
- name: Ask what has already come
  edgemgr.edge.artifact_store:
    attempt: 1017
    step: open
    files:
      - digest: 9ab3c1d9f5e94bb1e2d0f7d8e6f0a1b2c3d4e5f60718293a4b5c6d7e8f901234
        size_bytes: 73400320
"""

RETURN = r"""
chunks:
  description: For each digest the sha256 of every chunk (4 MiB) of its partial file, in order.
  type: dict
  returned: for C(open)
"""

import hashlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import artifacts, fence, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError, run
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    remove,
    settle,
    sha256_of,
)


def body(module: AnsibleModule) -> dict[str, Any]:
    """Open or complete all files under the fence."""
    params = module.params
    for each in params["files"]:
        artifacts.refuse_odd_digest(each["digest"])
    with fence.hold(params["attempt"], params["fence_wait_s"]):
        if params["step"] == "open":
            make_directory(layout.CACHE_DIR, 0o700)
            return {"changed": True, "chunks": {each["digest"]: _open(each["digest"]) for each in params["files"]}}
        for each in params["files"]:
            _complete(each["digest"], each["size_bytes"])
        return {"changed": True}


def _open(digest: str) -> list[str]:
    """Make the partial file if there is none; the hashes of the chunks in it."""
    descriptor = os.open(layout.partial(digest), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "rb") as handle:
        blocks = iter(lambda: handle.read(layout.CHUNK_BYTES), b"")
        return [hashlib.sha256(block).hexdigest() for block in blocks]


def _complete(digest: str, size_bytes: int) -> None:
    partial = layout.partial(digest)
    descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW)
    try:
        os.ftruncate(descriptor, size_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    found = sha256_of(partial)
    if found != digest:
        remove(partial)
        raise EdgeError(
            "E-ARTIFACT-HASH",
            f"a file came whole, but its sha256 is {found[:12]}... and not {digest[:12]}...",
            "The controller's copy may have changed: check it with `edgemgr release list`; the node's disk may be bad.",
        )
    settle(partial, layout.cached(digest))


def main() -> None:
    """Read the arguments and run."""
    module = AnsibleModule(
        argument_spec={
            "attempt": {"type": "int", "required": True},
            "fence_wait_s": {"type": "int", "default": 60},
            "step": {"type": "str", "required": True, "choices": ["open", "complete"]},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "digest": {"type": "str", "required": True},
                    "size_bytes": {"type": "int", "required": True},
                },
            },
        },
    )
    run(module, body)


if __name__ == "__main__":
    main()
