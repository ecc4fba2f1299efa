"""The entry of the program for the node's store: what is asked, under the fence, and the answer as a line of JSON."""

from __future__ import annotations

import json
import sys

from edgemgr.links.node_archive import assemble, keep_sets, look
from edgemgr.links.node_fence import RefusedError, fence
from edgemgr.links.node_store import complete, open_store, prune


def main(text: str) -> None:
    """Do what is asked for as JSON, and print the answer as JSON."""
    asked = json.loads(text)
    steps = {
        "look": look,
        "open": open_store,
        "complete": complete,
        "assemble": assemble,
        "keep": keep_sets,
        "prune": prune,
    }
    try:
        with fence(asked):
            answer = steps[asked["step"]](asked)
    except RefusedError as refused:
        answer = {"error": refused.error}
    except (OSError, KeyError) as exc:
        hint = "Look at the node's disk (df, dmesg); what has come stays there, and the next attempt goes on."
        answer = {"error": {"code": "E-NODE-IO", "message": f"the node refused: {exc}", "hint": hint}}
    sys.stdout.write(json.dumps(answer) + "\n")
