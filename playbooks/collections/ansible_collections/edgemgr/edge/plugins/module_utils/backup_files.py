"""What belongs to a backup beside the datastore: without these files it cannot be used.

The datastore holds the cluster's CAs encrypted with the token (k3s docs, datastore/backup-restore); `cred` has the key
that encrypts secrets; a rebuilt node with another password is turned away. Files are kept under names that do not
depend on where a node has them. Packaged manifests are kept with the users': k3s writes them anew at every start.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError

#: Names without which a backup is none.
NEEDED = ("server/token", "server/tls", "server/cred")


def places() -> dict[str, str]:
    """Name in the backup → where it is on the node: files and directories, there or not."""
    server = layout.DATA_DIR + "/server"
    found = {f"server/{name}": f"{server}/{name}" for name in ("token", "agent-token", "tls", "cred", "manifests")}
    found["config"] = layout.CONFIG_DIR
    found["node/password"] = os.path.dirname(layout.CONFIG_DIR) + "/node/password"
    found["service/k3s.service"] = layout.UNIT_FILE
    found["service/k3s.service.env"] = layout.UNIT_FILE + ".env"
    found["edgemgr/installed.json"] = layout.MARKER
    # Files that a hardened configuration names (k3s docs, security/hardening-guide): psa.yaml, audit.yaml.
    for name in sorted(os.listdir(server)) if os.path.isdir(server) else []:
        if name.endswith(".yaml"):
            found[f"server/{name}"] = f"{server}/{name}"
    return found


def read_all() -> dict[str, tuple[os.stat_result, bytes]]:
    """Every file, link and directory by its name in the backup: its status, and its content or a link's target.

    Raises:
        EdgeError: what no cluster is without is missing (E-BACKUP-INCOMPLETE).
    """
    found: dict[str, tuple[os.stat_result, bytes]] = {}
    for name, path in places().items():
        _gather(name, path, found)
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise EdgeError(
            "E-BACKUP-INCOMPLETE",
            "no backup can be taken: {0} is missing below {1}".format(" and ".join(missing), layout.DATA_DIR),
            "k3s makes these files at its first start: see whether it has ever run here.",
            NEVER,
        )
    return found


def fingerprint(content: dict[str, tuple[os.stat_result, bytes]]) -> dict[str, str]:
    """What has to be the same before and after the datastore is copied, for the two to belong together."""
    return {name: hashlib.sha256(data).hexdigest() for name, (_, data) in content.items()}


def pack(content: dict[str, tuple[os.stat_result, bytes]], target: str) -> list[dict[str, Any]]:
    """Write everything into the new tar `target`, durably; returns what is in it, for the manifest."""
    listed = []
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(content):
                status, data = content[name]
                archive.addfile(_entry(name, status, data), io.BytesIO(data) if stat.S_ISREG(status.st_mode) else None)
                if stat.S_ISREG(status.st_mode):
                    sha256 = hashlib.sha256(data).hexdigest()
                    listed.append({"name": name, "size_bytes": len(data), "sha256": sha256})
        handle.flush()
        os.fsync(handle.fileno())
    return listed


def _gather(name: str, path: str, found: dict[str, tuple[os.stat_result, bytes]]) -> None:
    try:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as handle:
                found[name] = status, handle.read()
        elif stat.S_ISLNK(status.st_mode):
            found[name] = status, os.fsencode(os.readlink(path))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = status, b""
            for each in sorted(os.listdir(path)):
                _gather(name + "/" + each, path + "/" + each, found)
    except FileNotFoundError:  # not there, or replaced at this moment: then it is read again
        return


def _entry(name: str, status: os.stat_result, data: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.mtime = int(status.st_mtime)
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(data)
    else:
        entry.size = len(data)
    return entry
