"""A program for the node's own Python (3.8 or newer): lets the login user read a backup that is root's.

It is sent as it stands (links/backup_pull.py) and run as root. Where root itself logs in there is nothing to open. For
another user the backup's files get a second name in a directory of that user's, and that user as their owner; `close`
gives them back. That user can become root without a password anyway, and every byte is held against its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

ATTEMPT = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def listed(asked: dict[str, Any]) -> dict[str, Any]:
    """Every backup that is complete, by the attempt that took it, with the sha256 of its manifest."""
    place = Path(asked["backups"])
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    found = {}
    for name in names:
        manifest = place / name / "manifest.json"
        if ATTEMPT.fullmatch(name) and manifest.is_file():
            found[name] = hashlib.sha256(manifest.read_bytes()).hexdigest()
    return {"backups": found}


def opened(asked: dict[str, Any]) -> dict[str, Any]:
    """Where the login user can read a backup; null when there is no such backup."""
    place, outgoing = Path(asked["backups"]) / str(int(asked["attempt"])), Path(asked["outgoing"])
    user = pwd.getpwnam(asked["user"])
    take_back(outgoing)
    if not (place / "manifest.json").is_file():
        return {"directory": None}
    if user.pw_uid == 0:
        return {"directory": str(place)}
    mine = outgoing / place.name
    mine.mkdir(mode=0o700, parents=True)
    outgoing.chmod(0o711)
    outgoing.parent.chmod(stat.S_IMODE(outgoing.parent.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)
    for path in place.iterdir():
        os.link(path, mine / path.name, follow_symlinks=False)
        os.chown(mine / path.name, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.chown(mine, user.pw_uid, user.pw_gid)
    return {"directory": str(mine)}


def closed(asked: dict[str, Any]) -> dict[str, Any]:
    """Root's again."""
    take_back(Path(asked["outgoing"]))
    return {}


def take_back(outgoing: Path) -> None:
    """Give all files back to root, those of a pull that was cut off as well."""
    for path in outgoing.glob("*/*") if outgoing.is_dir() else []:
        os.chown(path, 0, 0, follow_symlinks=False)
    shutil.rmtree(outgoing, ignore_errors=True)


def main(text: str) -> None:
    """Do what is asked for as JSON, and print the answer as JSON."""
    asked = json.loads(text)
    try:
        answer = {"list": listed, "open": opened, "close": closed}[asked["step"]](asked)
    except (OSError, KeyError) as exc:
        answer = {"error": str(exc)}
    sys.stdout.write(json.dumps(answer) + "\n")
