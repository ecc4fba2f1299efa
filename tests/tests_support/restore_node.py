"""A node for restores: its files and its datastore are real, systemd and k3s are played.

k3s is what matters of it here: it needs the token that the datastore was made with, writes into the datastore while it
runs, and makes a new cluster where it finds none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_node,
    backup_files,
    backup_place,
    backup_take,
    layout,
    marker,
    restore_source,
    service,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.restore_source import Source

VERSION = "v1.33.5+k3s1"
ONE = "K10one"
IDENTITY = "/registry/namespaces/kube-system"
_TABLE = """CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER,
    deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)"""


class K3s:
    """The service of one node."""

    def __init__(self) -> None:
        self.active, self.enabled = False, False
        self.fault = ""  # of what starts next, as long as its cluster is `of`
        self.of = ""
        self.verbs: list[str] = []

    def state(self) -> dict[str, str]:
        return {
            "LoadState": "loaded" if Path(layout.UNIT_FILE).exists() else "not-found",
            "ActiveState": "active" if self.active else "inactive",
            "SubState": "running" if self.active else "dead",
            "UnitFileState": "enabled" if self.enabled else "disabled",
            "MainPID": "1",
            "NRestarts": "0",
            "NeedDaemonReload": "no",
        }

    def systemctl(self, *arguments: str) -> str:
        self.verbs.append(arguments[0])
        if arguments[0] == "stop":
            self.active = False
        elif arguments[0] in ("enable", "disable"):
            self.enabled = arguments[0] == "enable"
        return ""

    def start(self, verb: str, timeout_s: float) -> None:
        self.verbs.append(verb)
        token = (server() / "token").read_text()
        with closing(connect()) as database:
            sealed = database.execute("SELECT value FROM kine WHERE name = '/bootstrap'").fetchone()
            if sealed is None:
                write(database, "/bootstrap", token)
                write(database, IDENTITY, json.dumps({"uid": f"uid of {token.strip()}"}))
            elif sealed[0] != token:
                raise EdgeError("E-K3S-CRASH", "bootstrap data already found and encrypted with different token", "")
            if self.fault == "crash" and cluster_id() == self.of:
                raise EdgeError("E-K3S-CRASH", "k3s crashed 3 times while starting: crash on demand", "")
            write(database, "/registry/leases/node", "started")
        self.active = True

    def await_health(self, _site: str, _version: str, _timeout_s: float, *_: Any, **__: Any) -> dict[str, Any]:
        assert self.active
        if self.fault == "sick" and cluster_id() == self.of:
            raise EdgeError("E-VERIFY-NODE", "the node is not Ready", "")
        told = "another" if self.fault == "other" and cluster_id() == self.of else cluster_id()
        return {"edge_observation": {"cluster_id": told, "health": "healthy"}, "edge_waited_s": 1.0}


def playing(monkeypatch: pytest.MonkeyPatch) -> K3s:
    """Everything that would reach the machine's own systemd or containers is played."""
    k3s = K3s()
    for name in ("state", "systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(k3s, name))
    monkeypatch.setattr(verify, "await_health", k3s.await_health)
    monkeypatch.setattr(activation_node.Services, "kill_containers", lambda _: k3s.verbs.append("kill-containers"))
    monkeypatch.setattr("os.fsync", lambda _: None)  # hundreds of them; what they are for cannot be seen here
    return k3s


def server() -> Path:
    return Path(layout.DATA_DIR) / "server"


def connect() -> sqlite3.Connection:
    (server() / "db").mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(server() / "db/state.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(_TABLE)
    return database


def write(database: sqlite3.Connection, name: str, value: str) -> None:
    database.execute("INSERT INTO kine (name, created, deleted, value) VALUES (?, 1, 0, ?)", (name, value))


def cluster_id() -> str:
    with closing(connect()) as database:
        row = database.execute("SELECT value FROM kine WHERE name = ?", (IDENTITY,)).fetchone()
    return str(json.loads(row[0])["uid"])


def objects(directory: Path | None = None) -> list[str]:
    """What was added to the cluster whose datastore lies there."""
    with closing(sqlite3.connect((directory or server() / "db") / "state.db")) as database:
        rows = database.execute("SELECT value FROM kine WHERE name = '/registry/mine' ORDER BY id").fetchall()
    return [row[0] for row in rows]


def add_object(value: str) -> None:
    with closing(connect()) as database:
        write(database, "/registry/mine", value)


def install(k3s: K3s, *, token: str = ONE, site: str = "store-1") -> None:
    """A node on which k3s runs."""
    node = Path(layout.CONFIG_DIR).parent / "node"
    program = Path(layout.binary(VERSION))
    for path, text in (
        (server() / "token", token),
        (server() / "tls/server-ca.crt", f"CA of {token}"),
        (server() / "tls/server-ca.key", "KEY"),
        (server() / "cred/passwd", f"passwd of {token}"),
        (server() / "manifests/own.yaml", "kind: Namespace\n"),
        (server() / "psa.yaml", "kind: AdmissionConfiguration\n"),
        (node / "password", f"password of {token}"),
        (Path(layout.CONFIG), f"node-name: {site}\n# {token}\n"),
        (Path(layout.UNIT_FILE), "[Service]\n"),
        (program, "k3s"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    Path(layout.K3S).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        Path(layout.K3S).symlink_to(program)
    Path(layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
    marker.write(marker.INSTALLED, VERSION, site=site, applied="digest", disabled_components=["traefik"])
    k3s.enabled = True
    k3s.start("start", 1)


def backup(number: int) -> dict[str, Any]:
    return backup_take.take("store-1", number, sleep=lambda _: None)


def send(number: int) -> str:
    """Put a backup into the content store, as the appliance does; returns the digest of its manifest."""
    place = Path(backup_place.path(number))
    text = (place / "manifest.json").read_bytes()
    for content in (text, *((place / part["name"]).read_bytes() for part in json.loads(text)["parts"])):
        path = Path(layout.cached(hashlib.sha256(content).hexdigest()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return hashlib.sha256(text).hexdigest()


def empty(node_root: Path, k3s: K3s) -> None:
    """Another node in its place: only what has come to its content store is there."""
    for path in node_root.iterdir():
        if path.name != "var":
            shutil.rmtree(path)
    shutil.rmtree(layout.RANCHER_DIR)
    state = Path(layout.STATE_DIR)
    for path in state.iterdir():
        if path.name != "cache":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    Path(layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
    k3s.active = k3s.enabled = False


def found(number: int) -> Source:
    digest = json.loads(json.dumps(backup_place.read_manifest(number)[1]))
    return restore_source.find(number, digest)


def names_in(source: Source) -> list[str]:
    with tarfile.open(source.files) as archive:
        return archive.getnames()


def fingerprint() -> dict[str, str]:
    """The files that belong to the cluster, without its datastore."""
    content = backup_files.read_all()
    return {name: sha for name, sha in backup_files.fingerprint(content).items() if not name.startswith("edgemgr/")}
