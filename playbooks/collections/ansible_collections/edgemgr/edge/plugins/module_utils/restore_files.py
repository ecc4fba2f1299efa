"""Laying out what a backup holds beside the places where it belongs, each file held against its sha256.

Owners, permissions and times are kept: k3s refuses TLS files that are newer than its datastore says (k3s issue 4910).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile

from ansible_collections.edgemgr.edge.plugins.module_utils import backup_take, restore_places
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.restore_source import Source
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import sync_directory

#: Name in the backup → the part of a cluster that it is, or begins.
_PARTS = {
    "server/token": "token",
    "server/agent-token": "agent-token",
    "server/tls": "tls",
    "server/cred": "cred",
    "server/manifests": "manifests",
    "config": "config",
    "node": "node",
}
MARKER = "edgemgr/installed.json"


def names(source: Source) -> list[str]:
    """Files of the backup that only some clusters have, by their names in k3s' server directory."""
    found = [str(each["name"]).split("/") for each in source.manifest["files"]]
    return sorted(words[1] for words in found if words == ["server", words[-1]] and words[1].endswith(".yaml"))


def lay_out(source: Source) -> None:
    """Write everything beside its place.

    Raises:
        EdgeError: what is in the backup is not what its manifest says (E-BACKUP-DAMAGED).
    """
    where = restore_places.places(names(source))
    for path in where.values():
        restore_places.prepare(path)
    _lay_out_datastore(source, where["db"])
    links: list[str] = []
    with tarfile.open(source.files, "r:") as archive:
        for member in archive:
            if any(member.name.startswith(link + "/") for link in links):
                raise _damaged(f"{member.name[:80]!r} lies behind a link")
            links += [member.name] if member.issym() else []
            target = _target(member.name, where)
            if target:
                _write(archive, member, target, source)
    for path in where.values():
        if os.path.lexists(restore_places.staged(path)):
            sync_directory(os.path.dirname(path))


def read_member(source: Source, name: str) -> bytes:
    """The content of one file of the backup; empty when it is not in it."""
    with tarfile.open(source.files, "r:") as archive:
        for member in archive:
            if member.name == name and member.isfile():
                return _content(archive, member, source)
    return b""


def _lay_out_datastore(source: Source, place: str) -> None:
    directory = restore_places.staged(place)
    os.mkdir(directory, 0o700)
    if source.datastore == backup_take.SQLITE:
        target = directory + "/state.db"
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(source.store, "rb") as read, os.fdopen(descriptor, "wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
    sync_directory(directory)


def _target(name: str, where: dict[str, str]) -> str:
    """Where a file of the backup is laid out; empty for what is not restored.

    Raises:
        EdgeError: the name leads out of its place.
    """
    words = name.split("/")
    if name.startswith("/") or ".." in words or "" in words:
        raise _damaged(f"it holds a file named {name[:80]!r}")
    for begin, part in _PARTS.items():
        if name == begin or name.startswith(begin + "/"):
            return restore_places.staged(where[part]) + name[len(begin) :]
    inner = words[1] if words[0] == "server" and words[1:] == words[-1:] else ""
    return restore_places.staged(where[inner]) if inner.endswith(".yaml") and inner in where else ""


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str, source: Source) -> None:
    directory = os.path.dirname(target)
    if not os.path.isdir(directory):  # `node` has no entry of its own in the backup
        os.mkdir(directory, 0o700)
    if member.isdir():
        os.mkdir(target, 0o700)
    elif member.issym():
        os.symlink(member.linkname, target)
    elif member.isfile():
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(_content(archive, member, source))
            handle.flush()
            os.fsync(handle.fileno())
    else:
        raise _damaged(f"{member.name[:80]!r} is neither file, link nor directory")
    if os.geteuid() == 0:
        os.chown(target, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(target, member.mode)
        os.utime(target, (member.mtime, member.mtime))
    sync_directory(directory)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Source) -> bytes:
    content = (archive.extractfile(member) or io.BytesIO()).read()
    if hashlib.sha256(content).hexdigest() != source.sha256_of(member.name):
        raise _damaged(f"{member.name[:80]!r} has another sha256 than its manifest says")
    return content


def _damaged(why: str) -> EdgeError:
    return EdgeError(
        "E-BACKUP-DAMAGED", f"the backup cannot be used: {why}", "Choose another backup of this site.", NEVER
    )
