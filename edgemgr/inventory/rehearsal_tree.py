"""What a backup holds, laid out as on its node: below a private directory, where a rehearsal starts k3s on it.

Files and directories alone, for their owner alone. k3s runs as root and writes into this tree, and what is in it comes
from a site: a link in it could lead out of it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgemgr.inventory.rehearsal_config import RehearsalConfig, rehearsal_config
from edgemgr.inventory.rehearsal_faults import strange_file, unusable
from edgemgr.model.secret import Secret

#: Places on a node, without the slash in front.
DATA_DIR = "var/lib/rancher/k3s"
_CONFIG_DIR = "etc/rancher"
CONFIG = f"{_CONFIG_DIR}/k3s/rehearsal.yaml"
SNAPSHOT = "var/lib/rancher/rehearsal.snapshot"

_IDENTITY = "/registry/namespaces/kube-system"
#: In cred/passwd and in the encryption's configuration (k3s-io/k3s, pkg/passwd; Kubernetes, encrypt-data).
_IN_CRED = re.compile(r'^([^,\n]+),|"secret":\s*"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class RestoredTree:
    """A node's files, as far as k3s needs them to start."""

    root: Path
    config: RehearsalConfig
    identity: bytes | None  #: the stored namespace kube-system, which names the cluster; None where nobody can tell
    secrets: tuple[Secret, ...]  #: what must not be shown of k3s' log


def lay_out(place: Path, site: str) -> RestoredTree:
    """Lay out the parts of a backup, which lie in `place`, below `place/tree`. The datastore itself moves there.

    Raises:
        RehearsalError: the backup holds what it cannot hold (E-REHEARSE-FILE), or the disk refuses (E-REHEARSE-IO).
    """
    root = place / "tree"
    try:
        for name in (
            DATA_DIR,
            f"{DATA_DIR}/data",
            f"{DATA_DIR}/server/db",
            f"{_CONFIG_DIR}/k3s",
            f"{_CONFIG_DIR}/node",
        ):
            _directory(root, name)
        files: dict[str, bytes] = {}
        with tarfile.open(place / "files.tar", "r:") as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)) is not None:
                    files[member.name] = file.read()
                    _lay_down(root, member, files[member.name])
        identity = _move_datastore(place, root)
        config = rehearsal_config(site, files)
        _write(root / CONFIG, config.text.encode())
    except OSError as exc:
        raise unusable(exc) from exc
    return RestoredTree(root, config, identity, tuple(_secrets(files)))


def _lay_down(root: Path, member: tarfile.TarInfo, content: bytes) -> None:
    target = _target(member.name)
    if target:
        _directory(root, str(PurePosixPath(target).parent))
        _write(root / target, content)
        os.utime(root / target, (member.mtime, member.mtime))  # k3s compares them with its datastore's


def _target(name: str) -> str:
    """Where a file of the backup lies on a node; empty for what the start needs not."""
    if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
        raise strange_file(name, "leads out of its place")
    if name.startswith("server/") and not name.startswith("server/db/"):
        return f"{DATA_DIR}/{name}"
    return f"{_CONFIG_DIR}/{name}" if name == "node/password" else ""


def _directory(root: Path, name: str) -> None:
    """Make a directory and those above it, each for its owner alone."""
    place = root
    for word in ("", *PurePosixPath(name).parts):
        place = place / word
        if not place.is_dir():
            place.mkdir(mode=0o700)


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 - an open descriptor
        file.write(content)


def _move_datastore(place: Path, root: Path) -> bytes | None:
    sqlite = place / "state.db"
    if not sqlite.exists():
        (place / "etcd.snapshot").rename(root / SNAPSHOT)
        return None
    with closing(sqlite3.connect(f"file:{sqlite}?mode=ro&immutable=1", uri=True)) as database:
        row = database.execute(
            "SELECT CAST(value AS BLOB) FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1", (_IDENTITY,)
        ).fetchone()
    sqlite.rename(root / DATA_DIR / "server/db/state.db")
    return bytes(row[0]) if row else None


def _secrets(files: dict[str, bytes]) -> list[Secret]:
    found = []
    for name, content in files.items():
        text = content.decode(errors="replace").strip()
        if name in ("server/token", "server/agent-token"):
            found += [text, text.rpartition(":")[2]]
        elif name == "node/password" or name.endswith(".key"):
            found.append(text)
        elif name.startswith("server/cred/"):
            found += [word for match in _IN_CRED.finditer(text) for word in match.groups() if word]
    return [Secret(text) for text in found if text]
