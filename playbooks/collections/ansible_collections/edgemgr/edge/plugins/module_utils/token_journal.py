"""The record of a token's rotation, and the copy of what belongs to the old token: for whoever comes next."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_snapshot, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, sync_directory, write_file

BEGUN = "begun"  # token and datastore may be the old ones, the new ones, or one of each
DONE = "done"
BACK = "back"  # the old token is in its place again, or was never touched


def directory() -> str:
    """Everything about tokens that the node keeps."""
    return layout.STATE_DIR + "/token"


def copies() -> str:
    """The old token, the passwords that belong to it, and the datastore that it opens."""
    return directory() + "/before"


def path() -> str:
    """The record of the last rotation."""
    return directory() + "/rotation.json"


def read() -> dict[str, Any] | None:
    """The record of the last rotation, or None."""
    content = read_or_none(path())
    if content is None:
        return None
    found: dict[str, Any] = json.loads(content.decode())
    return found


def is_unfinished() -> bool:
    """Whether one was cut off."""
    record = read()
    return record is not None and record["state"] == BEGUN


def write(record: dict[str, Any], state: str) -> None:
    """Note how far a rotation is, durably."""
    content = json.dumps(dict(record, state=state), indent=1, sort_keys=True)
    write_file(path(), content.encode() + b"\n", 0o600, 0o700)


def end(record: dict[str, Any], state: str) -> None:
    """Note the end of a rotation; the copy goes."""
    write(record, state)
    drop_copies()


def forget() -> None:
    """A restore has put another token and its datastore in: what was cut off is over. Needs the fence."""
    record = read()
    if record is not None and record["state"] == BEGUN:
        end(record, BACK)


def drop_copies() -> None:
    """Remove the copy: it opens every backup of the time before."""
    activation_snapshot.remove_tree(copies())
    if read_or_none(path()) is not None:
        sync_directory(directory())
