"""A node for rotations of the token: its files and its datastore are real, so is the program; the rest is played.

k3s is what matters of it here: it starts only with the token that its datastore was sealed with, and with passwords
that are those of the datastore; its `token rotate` makes the writes of the real one in their order, or stops among
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_cluster,
    converge,
    layout,
    marker,
    preflight,
    service,
    token_checks,
    token_rotation,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import passed
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApiError

VERSION, SITE, SERVER = "v1.33.5+k3s1", "store-1", "https://127.0.0.1:6443"
OLD = "first-password-0123456789"
WRITES = ("passwords", "file", "sealed", "dropped", "saved")
_TABLE = """CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER,
    deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)"""
PROGRAM = """\
#!{python}
import hashlib, json, os, sqlite3, sys
server = {server!r}
with open({seen!r}, "a") as seen:
    seen.write(json.dumps([sys.argv[1:], sorted(os.environ)]) + "\\n")
with open({orders!r}) as handle:
    orders = json.load(handle)
def passwords():
    with open(server + "/cred/passwd") as handle:
        return handle.read()
old = passwords().split(",")[0]
if orders["refuse"]:
    print("level=fatal msg=" + orders["refuse"].replace("OLD", old))
    sys.exit(1)
new = hashlib.sha256(old.encode()).hexdigest()[:32]
def name(password):
    return "/bootstrap/" + hashlib.sha256(password.encode()).hexdigest()[:12]
def rows():
    with open(server + "/cred/passwd", "w") as handle:
        handle.write(f"{{new}},node,node,k3s:agent\\n{{new}},server,server,k3s:server\\n")
def file():
    with open(server + "/token", "w") as handle:
        handle.write(f"K10aa::server:{{new}}\\n")
database = sqlite3.connect(server + "/db/state.db", isolation_level=None)
def write(password, value, deleted=0):
    database.execute(
        "INSERT INTO kine (name, created, deleted, value) VALUES (?, 0, ?, ?)", (name(password), deleted, value)
    )
sealed = database.execute("SELECT value FROM kine WHERE name = ? ORDER BY id DESC", (name(old),)).fetchone()[0]
writes = [rows, file, lambda: write(new, sealed), lambda: write(old, sealed, 1), lambda: write(new, passwords())]
for act in writes[: orders["writes"]]:
    act()
if orders["writes"] < len(writes):
    print("level=fatal msg=\\"the server ended\\"")
    sys.exit(1)
print("Token rotated, restart k3s nodes with new token")
"""


class Machine:
    """The node, and the service and the cluster of it that are played."""

    def __init__(self) -> None:
        self.is_active = True
        self.verbs: list[str] = []
        self.refuses: Callable[[str], str] = lambda _password: ""  # why it does not start with this one
        self.unready: Callable[[str], bool] = lambda _password: False  # whether its workload is not ready then
        self.uid = "uid-1"
        self.nodes: dict[str, dict[str, str]] = {SITE: {"node-role.kubernetes.io/control-plane": "true"}}
        for name, text in (
            ("token", f"K10aa::server:{OLD}\n"),
            ("cred/passwd", f"{OLD},node,node,k3s:agent\n{OLD},server,server,k3s:server\n"),
            ("tls/server-ca.crt", "CA"),
        ):
            path = self.server / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)
        (self.server / "agent-token").symlink_to(self.server / "token")
        (self.server / "db").mkdir()
        with closing(self.connect()) as database:
            database.execute(_TABLE)
            self._write(database, seal(OLD), (self.server / "cred/passwd").read_text())
        self.add_object("before")
        self.order()
        path = Path(layout.K3S)
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {"python": sys.executable, "server": str(self.server), "seen": str(self._seen)}
        path.write_text(PROGRAM.format(**words, orders=str(self._orders)))
        path.chmod(0o755)

    @property
    def server(self) -> Path:
        return Path(layout.DATA_DIR) / "server"

    @property
    def _orders(self) -> Path:
        return self.server / "orders.json"

    @property
    def _seen(self) -> Path:
        return self.server / "seen.jsonl"

    def order(self, *, writes: int = len(WRITES), refuse: str = "") -> None:
        """What the program does next: so many of its writes, or none and a sentence."""
        self._orders.write_text(json.dumps({"writes": writes, "refuse": refuse}))

    def seen(self) -> list[tuple[list[str], list[str]]]:
        """Arguments and names of variables of each call."""
        return [tuple(json.loads(line)) for line in self._seen.read_text().splitlines()] if self._seen.exists() else []

    def connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.server / "db/state.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        return database

    def add_object(self, value: str) -> None:
        with closing(self.connect()) as database:
            self._write(database, "/registry/mine", value)

    @staticmethod
    def _write(database: sqlite3.Connection, name: str, value: str) -> None:
        database.execute("INSERT INTO kine (name, created, deleted, value) VALUES (?, 1, 0, ?)", (name, value))

    def objects(self) -> list[str]:
        with closing(self.connect()) as database:
            rows = database.execute("SELECT value FROM kine WHERE name = '/registry/mine' ORDER BY id")
            return [row[0] for row in rows]

    def password(self) -> str:
        return (self.server / "token").read_text().strip().rpartition(":")[2]

    def sealed(self) -> dict[str, str]:
        """Place → what was sealed there."""
        with closing(self.connect()) as database:
            rows = database.execute(
                "SELECT name, value FROM kine WHERE id IN (SELECT max(id) FROM kine GROUP BY name) AND deleted = 0"
                " AND name LIKE '/bootstrap/%'"
            )
            return dict(rows.fetchall())

    def fits(self) -> bool:
        """Whether k3s would start with what lies there, and the token before it no longer opens anything."""
        return self.why_not() == "" and set(self.sealed()) == {seal(self.password())}

    def why_not(self) -> str:
        if not (self.server / "db/state.db").exists():
            return "it would begin a new cluster"
        sealed = self.sealed().get(seal(self.password()))
        if sealed is None:
            return "bootstrap data already found and encrypted with different token"
        if sealed != (self.server / "cred/passwd").read_text():
            return "cred/passwd newer than datastore and could cause a cluster outage"
        return ""

    def state(self) -> dict[str, str]:
        return {"ActiveState": "active" if self.is_active else "inactive", "SubState": "", "MainPID": "0"}

    def systemctl(self, *words: str) -> str:
        assert words == ("stop", layout.UNIT)
        self.verbs.append("stop")
        self.is_active = False
        return ""

    def start(self, verb: str, _timeout_s: float) -> None:
        self.verbs.append(verb)
        if verb == "start" and self.is_active:
            return
        why = self.why_not() or self.refuses(self.password())
        self.is_active = not why
        if why:
            raise EdgeError("E-K3S-CRASH", f"k3s crashed 3 times while starting: {why}", "")

    def look(self, site: str, version: str) -> dict[str, Any]:
        assert (site, version) == (SITE, VERSION)
        found: dict[str, Any] = {"unmet": [], "workloads": {}, "helm": [], "images": [], "dns": True}
        if not self.is_active:
            found["unmet"] = [["E-VERIFY-SERVICE", "k3s does not run", "failing"]]
            return found
        found["workloads"] = {"Deployment/shop/till": [0 if self.unready(self.password()) else 2, 2]}
        return found


def seal(password: str) -> str:
    """Where k3s keeps what it sealed with a password."""
    return "/bootstrap/" + hashlib.sha256(password.encode()).hexdigest()[:12]


def playing(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine in the place of everything that would reach this one."""
    Path(layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
    machine = Machine()
    marker.write(marker.INSTALLED, VERSION, site=SITE)
    for name in ("state", "systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(machine, name))
    monkeypatch.setattr(service, "log_tail", lambda: ["level=info msg=k3s"])
    monkeypatch.setattr(activation_cluster.LocalCluster, "look", lambda _self, *words: machine.look(*words))

    class Api:
        address = SERVER

        def read(self, path: str) -> dict[str, Any]:
            if not machine.is_active:
                raise KubeApiError("the API does not answer")
            if path == "/version":
                return {"gitVersion": VERSION}
            if path == "/api/v1/nodes":
                return {"items": [{"metadata": {"name": name, "labels": of}} for name, of in machine.nodes.items()]}
            return {"metadata": {"uid": machine.uid}}

    for module in (converge, token_rotation, token_checks):
        monkeypatch.setattr(module, "KubeApi", Api)
    monkeypatch.setattr(preflight, "check_node", lambda min_memory_mib: [passed("host", "as it should be")])
    monkeypatch.setattr(verify, "look", lambda *_: {"edge_observation": {"health": "healthy"}})
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what they are for cannot be seen here
    return machine
