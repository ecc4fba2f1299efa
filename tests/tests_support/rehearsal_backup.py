"""Backups of a node whose k3s is the stand-in, as an appliance holds them; and what a rehearsal may leave behind."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import stat
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edgemgr.app import open_app
from edgemgr.inventory.backup_store import open_store
from edgemgr.inventory.release_add import add_release
from edgemgr.model.backup import Backup
from edgemgr.model.backup_manifest import entries, read_manifest
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import backups, queries, releases
from tests_support.backup_files import describe
from tests_support.standin_node import OLD, Node

#: Name in the backup → place on the node, as the collection's module_utils/backup_files.py has them.
_PLACES = {
    **{
        f"server/{name}": f"var/lib/rancher/k3s/server/{name}"
        for name in ("token", "agent-token", "tls", "cred", "manifests")
    },
    "config": "etc/rancher/k3s",
    "node/password": "etc/rancher/node/password",
}


@dataclass
class Saved:
    """What a backup is made of."""

    store: bytes  #: state.db or etcd.snapshot
    datastore: str = "sqlite"
    version: str = OLD
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)  #: name → modification time, content

    def change(self, name: str, content: bytes) -> None:
        self.files[name] = (self.files[name][0], content)


def save(node: Node, tmp_path: Path, snapshot: Path | None = None) -> Saved:
    """Copy a node's datastore and files; k3s may run meanwhile."""
    if snapshot is not None:
        saved = Saved(snapshot.read_bytes(), "etcd")
    else:
        copy = tmp_path / "copy.db"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(node.data / "server/db/state.db")) as read, closing(sqlite3.connect(copy)) as made:
            read.backup(made)
        saved = Saved(copy.read_bytes())
    for name, place in _PLACES.items():
        path = node.root / place
        for each in [path, *path.rglob("*")] if path.exists() else []:
            if stat.S_ISREG(each.lstat().st_mode):
                inner = each.relative_to(path).as_posix()
                saved.files[name if inner == "." else f"{name}/{inner}"] = (
                    int(each.stat().st_mtime),
                    each.read_bytes(),
                )
    return saved


def shelve(settings: Settings, site: str, saved: Saved, *, attempt: int = 1) -> int:
    """Put a backup on the appliance's shelf, as a pull does; gives its number there."""
    store_name = {"sqlite": "state.db", "etcd": "etcd.snapshot"}[saved.datastore]
    parts = {store_name: saved.store, "files.tar": _tar(saved.files)}
    text = json.dumps(
        {
            "format": 1,
            "site": site,
            "attempt": attempt,
            "taken_at": "2026-11-21T11:00:00Z",
            "k3s_version": saved.version,
            "datastore": saved.datastore,
            "revision": None,
            "parts": [describe(name, data)[0] for name, data in parts.items()],
            "files": [
                {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, (_, data) in saved.files.items()
            ],
        }
    ).encode()
    with open_app(settings) as opened:
        with open_store(settings.backup_dir, opened.vault, site) as store:
            for part in read_manifest(text).parts:
                lists = describe(part.name, parts[part.name])[1]
                for at in range(0, len(lists), 4096):
                    store.put(lists[at : at + 4096])
                for number, _ in enumerate(entries(lists)):
                    store.put(parts[part.name][number * 4096 : (number + 1) * 4096])
            digest = store.commit(text)
        with opened.database.write() as session:
            (site_id,) = queries.ids_of_names(session, [site])
            row = Backup(
                site_id=site_id,
                attempt=attempt,
                digest=digest,
                taken_at=utc_now(),
                pulled_at=utc_now(),
                k3s_version=saved.version,
                datastore=saved.datastore,
                size_bytes=len(saved.store),
            )
            backups.add(session, row)
            session.flush()
            return row.id or 0


def take_in(settings: Settings, directory: Path) -> None:
    """`edgemgr release add`."""
    with open_app(settings) as opened:
        added = add_release(directory, store_dir=settings.release_dir)
        with opened.database.write() as session:
            releases.add(session, added.files, actor="test")


def _tar(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, (changed_at, data) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), changed_at
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def rehearsed(settings: Settings) -> set[int]:
    """Every process in namespaces that a rehearsal of this appliance has made: they see its private directory."""
    place = "/".join(settings.runtime_dir.parts[-3:]) + "/backup-"
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                mounts = (path / "mountinfo").read_text()
            except OSError:  # it has just ended
                continue
            if place in mounts:
                found.add(int(path.name))
    return found
