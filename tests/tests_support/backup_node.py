"""A node on which k3s has run, for backups: its files and its SQLite datastore are real."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import backup_place, backup_take, layout, marker

from tests_support import kine_writer

VERSION = "v1.33.5+k3s1"


def install() -> None:
    """Its SQLite datastore with 300 changes, token, certificates and the rest."""
    files = {
        "server/token": "K10abc::server:secret",
        "server/tls/server-ca.crt": "CA",
        "server/tls/etcd/peer-ca.key": "KEY",
        "server/cred/encryption-config.json": "{}",
        "server/manifests/own.yaml": "kind: Namespace",
        "server/psa.yaml": "kind: AdmissionConfiguration",
    }
    for name, text in files.items():
        write(Path(layout.DATA_DIR) / name, text)
    (Path(layout.DATA_DIR) / "server/node-token").symlink_to("token")
    (Path(layout.DATA_DIR) / "server/tls/current.crt").symlink_to("server-ca.crt")
    write(Path(layout.CONFIG), "node-name: store-1\n")
    write(Path(layout.CONFIG_DIR).parent / "node/password", "node password")
    write(Path(layout.UNIT_FILE), "[Service]\n")
    marker.write(marker.INSTALLED, VERSION, site="store-1")
    state_db().parent.mkdir(parents=True)
    with closing(kine_writer.connect(str(state_db()))) as database:
        dice = random.Random(7)  # noqa: S311 - repeatable
        for _ in range(300):
            kine_writer.change(database, dice)


def write(path: Path, text: str) -> None:
    """A file for root alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def state_db() -> Path:
    """The running datastore."""
    return Path(layout.DATA_DIR) / "server/db/state.db"


def take(attempt: int) -> dict[str, Any]:
    """Take a backup."""
    return backup_take.take("store-1", attempt, sleep=lambda _: None)


def copied(attempt: int, name: str = "state.db") -> Path:
    """A file of a backup."""
    return Path(backup_place.path(attempt)) / name
