"""What a restore exchanges on the node, and the record by which it can be undone.

Each place is exchanged by renames: the new state is laid out beside it first, and the old one stays beside it.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths, activation_snapshot, layout, marker
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    point_link,
    read_or_none,
    sync_directory,
    write_file,
)

BEGUN = "begun"  # k3s stands still, or stood still when it was cut off
DONE = "done"
BACK = "back"  # what was there before is there again
_STAGED, _ASIDE = "edgemgr-restore", "edgemgr-before-restore"


def record_path() -> str:
    """The record of the last restore."""
    return layout.STATE_DIR + "/restore.json"


def read() -> dict[str, Any] | None:
    """The record of the last restore, or None."""
    content = read_or_none(record_path())
    if content is None:
        return None
    found: dict[str, Any] = json.loads(content.decode())
    return found


def is_unfinished() -> bool:
    """Whether one was cut off: what lies in k3s' places may be half the old and half the new state."""
    record = read()
    return record is not None and record["state"] == BEGUN


def write(record: dict[str, Any], state: str) -> dict[str, Any]:
    """Note how far a restore is, durably; returns what was written."""
    record = dict(record, state=state)
    write_file(record_path(), json.dumps(record, indent=1, sort_keys=True).encode() + b"\n", 0o600, 0o700)
    return record


def places(names: list[str]) -> dict[str, str]:
    """Part → place on the node: what every cluster has, and those files of `names` that only some have."""
    server = layout.DATA_DIR + "/server"
    found = dict(activation_paths.parts())
    found["agent-token"] = server + "/agent-token"
    found.update({name: f"{server}/{name}" for name in names if name.endswith(".yaml")})
    return found


def staged(path: str) -> str:
    """Where the new state of a place is laid out."""
    return "{0}/.{1}.{2}".format(os.path.dirname(path), os.path.basename(path), _STAGED)


def aside(path: str) -> str:
    """Where the old state of a place is kept."""
    return "{0}/.{1}.{2}".format(os.path.dirname(path), os.path.basename(path), _ASIDE)


def begin(number: int, digest: str, names: list[str], was_enabled: bool) -> dict[str, Any]:
    """Note what is there now, before anything of it is touched; what an older restore kept goes."""
    where = places(names)
    for path in where.values():
        activation_snapshot.remove_tree(aside(path))
    link = os.readlink(layout.K3S) if os.path.islink(layout.K3S) else None
    record = {
        "number": number,
        "digest": digest,
        "names": names,
        "there": sorted(name for name, path in where.items() if os.path.lexists(path)),
        "link": link,
        "marker": marker.read(),
        "was_enabled": was_enabled,
    }
    return write(record, BEGUN)


def put_in(record: dict[str, Any]) -> None:
    """Exchange every place for what was laid out beside it; k3s stands still. May be cut off and repeated."""
    for name, path in places(record["names"]).items():
        directory = os.path.dirname(path)
        if os.path.isdir(directory):
            if name in record["there"] and not os.path.lexists(aside(path)):
                os.rename(path, aside(path))
            if os.path.lexists(staged(path)):
                activation_snapshot.remove_tree(path)
                os.rename(staged(path), path)
            sync_directory(directory)


def put_back(record: dict[str, Any]) -> None:
    """Bring back what was there before; k3s stands still. May be cut off and repeated."""
    for name, path in places(record["names"]).items():
        if os.path.lexists(aside(path)):
            activation_snapshot.remove_tree(path)
            os.rename(aside(path), path)
        elif name not in record["there"]:
            activation_snapshot.remove_tree(path)
        activation_snapshot.remove_tree(staged(path))
        if os.path.isdir(os.path.dirname(path)):
            sync_directory(os.path.dirname(path))
    if record["link"]:
        point_link(layout.K3S, record["link"])
    if record["marker"] is not None:
        told = dict(record["marker"])
        marker.write(told.pop("state"), told.pop("version"), **told)


def prepare(path: str) -> str:
    """Where the new state of a place is laid out: nothing is there yet, and the directory above it is."""
    make_directory(os.path.dirname(path))
    activation_snapshot.remove_tree(staged(path))
    return staged(path)


def kept(record: dict[str, Any]) -> list[str]:
    """Where the old state lies now."""
    return [aside(path) for path in places(record["names"]).values() if os.path.lexists(aside(path))]
