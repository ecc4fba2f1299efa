"""Backups as a node makes them, and the node's side of a pull without a node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemgr.inventory.backup_store import BackupStore
from edgemgr.model.backup_manifest import BackupManifest, entries, read_manifest


def describe(name: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    """A part's entry in the manifest and its block list, by the format's description alone."""
    digests = b"".join(hashlib.sha256(data[at : at + 4096]).digest() for at in range(0, len(data), 4096))
    lists = [hashlib.sha256(digests[at : at + 4096]).hexdigest() for at in range(0, len(digests), 4096)]
    sha256 = hashlib.sha256(data).hexdigest()
    return {"name": name, "size_bytes": len(data), "sha256": sha256, "lists": lists}, digests


def manifest_of(attempt: int, parts: Mapping[str, bytes], files: Mapping[str, bytes] | None = None) -> bytes:
    """The manifest of a backup of SQLite with these parts, and these files in `files.tar`."""
    told = {
        "format": 1,
        "site": "store-1",
        "attempt": attempt,
        "taken_at": "2026-11-21T11:00:00Z",
        "k3s_version": "v1.33.5+k3s1",
        "datastore": "sqlite",
        "revision": attempt,
        "parts": [describe(name, data)[0] for name, data in parts.items()],
        "files": [
            {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in (files or {}).items()
        ],
    }
    return json.dumps(told).encode()


def write_backup(directory: Path, attempt: int, parts: Mapping[str, bytes]) -> str:
    """Lay a backup down as a node does; returns the manifest's digest."""
    place = directory / str(attempt)
    place.mkdir(parents=True, mode=0o700)
    for name, data in parts.items():
        (place / name).write_bytes(data)
        (place / f"{name}.blocks").write_bytes(describe(name, data)[1])
    text = manifest_of(attempt, parts)
    (place / "manifest.json").write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def put_backup(
    store: BackupStore, attempt: int, parts: Mapping[str, bytes], files: Mapping[str, bytes] | None = None
) -> tuple[str, int]:
    """Put what the store lacks of a backup, and commit it; gives its digest and how many bytes of blocks it lacked."""
    text = manifest_of(attempt, parts, files)
    put = put_blocks(store, read_manifest(text), parts)
    return store.commit(text), put


def put_blocks(store: BackupStore, manifest: BackupManifest, parts: Mapping[str, bytes]) -> int:
    """Put what the store lacks of a backup; gives how many bytes of blocks it lacked."""
    put = 0
    for part in manifest.parts:
        data = parts[part.name]
        digests = describe(part.name, data)[1]
        for at in range(0, len(digests), 4096):
            store.put(digests[at : at + 4096])
        blocks = entries(digests)
        for digest in store.missing(blocks):
            number = blocks.index(digest)
            block = data[number * 4096 : (number + 1) * 4096]
            assert store.put(block) == digest
            put += len(block)
    return put
