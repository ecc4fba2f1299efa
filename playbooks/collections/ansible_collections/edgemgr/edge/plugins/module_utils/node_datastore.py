"""Which datastore this node's k3s keeps, and how large it is; read without opening it."""

from __future__ import annotations

import os

from ansible_collections.edgemgr.edge.plugins.module_utils import layout

SQLITE, ETCD, EXTERNAL = "sqlite", "etcd", "external"


def kind() -> str | None:
    """`sqlite`, `etcd`, or `external`: k3s has run here and keeps neither on this disk. None: it has not run here."""
    database = layout.DATA_DIR + "/server/db"
    if os.path.isdir(database + "/etcd"):
        return ETCD
    if os.path.isfile(database + "/state.db"):
        return SQLITE
    return EXTERNAL if os.path.exists(layout.DATA_DIR + "/server/token") else None


def size_bytes() -> int | None:
    """What it takes on this disk, its log included; None where it lies elsewhere, or there is none."""
    database = layout.DATA_DIR + "/server/db"
    found = kind()
    if found == SQLITE:
        return sum(_size(database + "/state.db" + ending) for ending in ("", "-wal"))
    if found == ETCD:
        return sum(
            _size(os.path.join(directory, name))
            for directory, _, names in os.walk(database + "/etcd/member")
            for name in names
        )
    return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a log that was just closed
        return 0
