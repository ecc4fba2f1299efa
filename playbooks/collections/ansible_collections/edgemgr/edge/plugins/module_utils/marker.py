"""The marker: what edgemgr has installed on this node, and whether it had finished.

States: `installing` (from before the first change), `installed`, `removing`. A k3s without this marker is not ours.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, write_file

INSTALLING = "installing"
INSTALLED = "installed"
REMOVING = "removing"


def read() -> dict[str, Any] | None:
    """The marker as a dict, or None."""
    content = read_or_none(layout.MARKER)
    if content is None:
        return None
    try:
        marker: dict[str, Any] = json.loads(content.decode())
        if marker["state"] in (INSTALLING, INSTALLED, REMOVING) and isinstance(marker["version"], str):
            return marker
    except (ValueError, KeyError, TypeError):
        pass
    raise EdgeError(
        "E-NODE-MARKER",
        f"the record of what edgemgr installed, {layout.MARKER}, cannot be read",
        "Restore the file from a backup of the node, or remove k3s by hand and then that file.",
        NEVER,
    )


def write(state: str, version: str, **more: Any) -> None:
    """Replace the marker, durably."""
    content = json.dumps(dict(more, state=state, version=version), indent=2, sort_keys=True)
    write_file(layout.MARKER, content.encode() + b"\n", 0o600, 0o700)
