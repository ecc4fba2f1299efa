"""Ending on the node: what a canceled or timed-out attempt left running there is ended through a connection of its own.

To cut Ansible's connection is not enough: the module goes on without it.
"""

from __future__ import annotations

from pathlib import Path

from edgemgr.errors import SiteError
from edgemgr.links import end_on_node
from edgemgr.model.target import Target

#: Where the collection's fence keeps them (module_utils/layout.py).
LOCK = "/run/lock/edgemgr.lock"
RECORD = "/var/lib/edgemgr/fence.json"


def end_attempt(target: Target, attempt_id: int, *, timeout_s: float) -> int:
    """End what the attempt, or an older one, still does at the site; returns how many processes that were.

    The node's fence refuses it from now on.

    Raises:
        SiteError: the site cannot be entered (see `links.ssh.connect`), or what runs there did not end (E-SITE-ENDING).
    """
    from edgemgr.links.ssh import connect

    program = Path(end_on_node.__file__).read_text(encoding="utf-8")
    command = f"/usr/bin/python3 - {LOCK} {RECORD} {attempt_id}"
    if target.user != "root":
        command = f"sudo -n {command}"
    with connect(target, timeout_s=timeout_s) as connection:
        result = connection.run(command, stdin=program, timeout_s=timeout_s + end_on_node.WITHIN_S)
    try:
        ended = int(result.stdout)
    except ValueError:
        ended = -1
    if result.status != 0 or ended < 0:
        said = result.stderr.strip().rpartition("\n")[2][:200]
        raise SiteError(
            f"what attempt {attempt_id} left running at {target.name} did not end: {said or 'its lock stayed taken'}",
            hint=f"The next attempt waits for it. `fuser -v {LOCK}` on the node names the process.",
            code="E-SITE-ENDING",
        )
    return ended
