"""The backup that a restore uses: one that the node kept itself, or one that the appliance has sent.

What is sent lies in the content store, each file under its sha256, the manifest too.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    artifacts,
    backup_place,
    backup_sqlite,
    backup_take,
    layout,
    sqlite_file,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none, remove, sha256_of

_IDENTITY = "/registry/namespaces/kube-system"
MAX_MANIFEST_BYTES = 16 << 20


class Source:
    """A backup that is whole on this node. `paths` says where its parts lie."""

    def __init__(self, digest: str, manifest: dict[str, Any], paths: dict[str, str], is_sent: bool) -> None:
        self.digest = digest  #: sha256 of its manifest
        self._is_sent = is_sent
        self.manifest = manifest
        self.paths = paths
        self.datastore = str(manifest["datastore"])
        self.store = paths[backup_take.DATASTORES[self.datastore]]
        self.files = paths[backup_take.FILES]

    @property
    def size_bytes(self) -> int:
        """Of all its parts."""
        return sum(part["size_bytes"] for part in self.manifest["parts"])

    def sha256_of(self, name: str) -> str:
        """The sha256 that the manifest names for a file of `files.tar`; empty when it is not in it."""
        return {each["name"]: each["sha256"] for each in self.manifest["files"]}.get(name, "")

    def check(self) -> None:
        """Hash its parts, and have SQLite check the datastore.

        Raises:
            EdgeError: something of it is damaged (E-BACKUP-DAMAGED, E-BACKUP-INTEGRITY).
        """
        for part in self.manifest["parts"]:
            if sha256_of(self.paths[part["name"]]) != part["sha256"]:
                raise _damaged("{0} has another sha256".format(part["name"]))
        if self.datastore == backup_take.SQLITE:
            backup_sqlite.check(self.store)

    def identifies(self, cluster_id: str) -> bool:
        """Whether the cluster with this uid of kube-system is the one that was saved; True where nobody can tell.

        Kubernetes writes the uid as text into what it stores, be that JSON or protobuf.
        """
        if self.datastore != backup_take.SQLITE:
            return True
        with contextlib.closing(sqlite_file.connect(self.store, "ro&immutable=1", 0.0)) as database:
            row = database.execute(
                "SELECT CAST(value AS BLOB) FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1", (_IDENTITY,)
            ).fetchone()
        return row is None or cluster_id.encode() in bytes(row[0])

    def forget(self) -> None:
        """Remove what was sent: it holds every secret of the cluster."""
        if self._is_sent:
            for digest in (self.digest, *(part["sha256"] for part in self.manifest["parts"])):
                remove(layout.cached(digest))


def find(attempt: int, digest: str) -> Source:
    """Look for a backup by the attempt that took it and the sha256 of its manifest.

    Raises:
        EdgeError: it is not here (E-RESTORE-MISSING), or not whole (E-BACKUP-DAMAGED).
    """
    artifacts.refuse_odd_digest(digest)
    sent = layout.cached(digest)
    if os.path.isfile(sent) and os.stat(sent).st_size <= MAX_MANIFEST_BYTES:
        if sha256_of(sent) != digest:
            raise _damaged("its manifest has another sha256")
        manifest = _read(sent)
        for part in manifest["parts"]:
            artifacts.refuse_odd_digest(part["sha256"])
        paths = {part["name"]: layout.cached(part["sha256"]) for part in manifest["parts"]}
    elif attempt in backup_place.whole() and backup_place.read_manifest(attempt)[1] == digest:
        manifest = backup_place.read_manifest(attempt)[0]
        paths = {part["name"]: backup_place.path(attempt) + "/" + part["name"] for part in manifest["parts"]}
    else:
        raise _missing("it was neither kept here nor sent")
    for part in manifest["parts"]:
        path = paths[part["name"]]
        if not os.path.isfile(path) or os.stat(path).st_size != part["size_bytes"]:
            raise _missing("{0} is not there in its full length".format(part["name"]))
    return Source(digest, manifest, paths, os.path.isfile(sent))


def _read(path: str) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((read_or_none(path) or b"").decode())
        names = {part["name"] for part in manifest["parts"]}
        if manifest["format"] == backup_place.FORMAT and names == {
            backup_take.DATASTORES[manifest["datastore"]],
            backup_take.FILES,
        }:
            return manifest
    except (ValueError, KeyError, TypeError):
        pass
    raise _damaged("its manifest cannot be read")


def _damaged(why: str) -> EdgeError:
    return EdgeError(
        "E-BACKUP-DAMAGED",
        f"the backup on the node is damaged: {why}",
        "Restore again: the next attempt sends it from the appliance; or choose another backup.",
    )


def _missing(why: str) -> EdgeError:
    return EdgeError(
        "E-RESTORE-MISSING",
        f"the backup is not on the node: {why}",
        "The next attempt sends it from the appliance.",
    )
