"""Backups on the node: one directory for each, named by the attempt that made it, there whole or not at all.

`backups/ATTEMPT/` holds `manifest.json` and the parts that it names, each with its block list. Attempts only grow,
so the newest backup is the one with the highest number, whatever the node's clock said. What begins with a dot is
unfinished, or about to go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import backup_blocks, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    sync_directory,
    write_file,
)

MANIFEST = "manifest.json"
FORMAT = 1
_NAME = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_NEW, _OLD = ".new-", ".old-"


def directory() -> str:
    """Where backups lie."""
    return layout.STATE_DIR + "/backups"


def path(attempt: int) -> str:
    """Where the backup of an attempt lies, or would lie."""
    return f"{directory()}/{attempt}"


def whole() -> list[int]:
    """The attempts whose backups are complete, oldest first."""
    try:
        names = os.listdir(directory())
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if _NAME.fullmatch(name))


def begin(attempt: int) -> str:
    """An empty directory to fill for the backup of this attempt; what was left half-done goes. Needs the fence."""
    make_directory(directory(), 0o700)
    sweep()
    place = f"{directory()}/{_NEW}{attempt}"
    os.mkdir(place, 0o700)
    return place


def publish(place: str, attempt: int, manifest: dict[str, Any]) -> str:
    """Give a filled directory its name, after everything in it is on the disk; returns the manifest's sha256."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    write_file(place + "/" + MANIFEST, text, 0o600, 0o700)
    os.rename(place, path(attempt))
    sync_directory(directory())
    return hashlib.sha256(text).hexdigest()


def read_manifest(attempt: int) -> tuple[dict[str, Any], str]:
    """What a backup says of itself, and the sha256 of that text.

    Raises:
        EdgeError: there is none, or it cannot be read (E-BACKUP-DAMAGED).
    """
    text = read_or_none(path(attempt) + "/" + MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads((text or b"").decode())
        if manifest["format"] == FORMAT and manifest["attempt"] == attempt:
            return manifest, hashlib.sha256(text or b"").hexdigest()
    except (ValueError, KeyError, TypeError):
        pass
    raise _damaged(attempt, "its manifest is missing or cannot be read")


def verify(attempt: int, digest: str = "") -> dict[str, Any]:
    """Hash a backup again, and give its manifest; with `digest` it has to be that manifest.

    Raises:
        EdgeError: something of it is missing or was changed (E-BACKUP-DAMAGED).
    """
    manifest, found = read_manifest(attempt)
    if digest and digest != found:
        raise _damaged(attempt, "its manifest is another one")
    for part in manifest["parts"]:
        if not _is_right(path(attempt), part):
            raise _damaged(attempt, "{0} was changed or is missing".format(part["name"]))
    return manifest


def prune(keep: int) -> list[int]:
    """Remove all but the newest `keep` backups; returns the attempts whose backups went. Needs the fence."""
    gone = whole()[: -max(1, keep)]
    for attempt in gone:
        # One step takes it out of sight; what a cut leaves of it is swept by the next backup.
        os.rename(path(attempt), f"{directory()}/{_OLD}{attempt}")
    sweep()
    return gone


def sweep() -> None:
    """Remove what is unfinished or was about to go. Needs the fence: nobody else is at work then."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory()):
            if name.startswith((_NEW, _OLD)):
                shutil.rmtree(directory() + "/" + name)
        sync_directory(directory())


def _is_right(place: str, part: dict[str, Any]) -> bool:
    try:
        return backup_blocks.is_right(place, part)
    except OSError:
        return False


def _damaged(attempt: int, why: str) -> EdgeError:
    return EdgeError(
        "E-BACKUP-DAMAGED",
        f"the backup of attempt {attempt} on the node is damaged: {why}",
        "Use another backup; look at the node's disk (dmesg), and take a new backup.",
    )
