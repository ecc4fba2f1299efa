"""A node for the activation program: its files and its datastore are real, k3s, systemd and time are played.

k3s is what matters of it here: it writes into a SQLite file while it runs and leaves a write-ahead log behind when it
ends, refuses a datastore that a newer version wrote or another token sealed, and makes a new cluster where it finds
none. Nothing of it may ever happen to the wrong datastore, so every start is noted.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths, layout, marker
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import (
    Clock,
    Cluster,
    DeadlineOverError,
    Node,
    Services,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan

OLD, NEW, NEWER = "v1.33.5+k3s1", "v1.34.1+k3s1", "v1.35.0+k3s1"
ARCHIVE = "k3s-airgap-images-amd64.tar.zst"
READY_AFTER_S, START_S, STOP_S = 12.0, 6.0, 2.0
CRASH, NEVER_READY, LOSE_WORKLOAD, HANG = "crash", "never_ready", "lose_workload", "hang"


def artifact(part: str, version: str) -> dict[str, Any]:
    """A release file that lies in the node's content store."""
    content = f"{part} of {version}".encode()
    digest = hashlib.sha256(content).hexdigest()
    path = Path(layout.cached(digest))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    name = "k3s" if part == "binary" else ARCHIVE
    return {"part": part, "arch": "amd64", "name": name, "digest": digest, "size_bytes": len(content), "path": ""}


def files(version: str) -> list[dict[str, Any]]:
    return [artifact("binary", version), artifact("images", version)]


class Machine:
    """One node. `faults` are what goes wrong, by version; `disk` hears which files k3s itself has written."""

    def __init__(self, **faults: str) -> None:
        self.faults = {version: faults[name] for name, version in NAMES.items() if name in faults}
        self.boots, self.up, self.now = 1, 100.0, 1_790_000_000.0
        self.running: str | None = None  # the version, while its process lives
        self.wanted = False  # whether systemd keeps it running
        self.crashes, self.started_up, self.deadline = 0, 0.0, float("inf")
        self.starts: list[tuple[str, str]] = []  # version that started, version that had written the datastore
        self.clusters = 0
        self.written: list[tuple[int, str]] = []  # rows that k3s was told are durable: number, version
        self.cut_containers = 0
        self.trusted: set[tuple[int, int]] = set()  # files that k3s looks after itself
        self.database: sqlite3.Connection | None = None
        self.at_effect: Any = lambda: None  # called before and after whatever systemd is asked for

    # -- what is there before -------------------------------------------------------------------------------

    def install(self, version: str = OLD) -> None:
        """A site as a bootstrap leaves it, with a cluster that has lived for a while."""
        plan = SitePlan("store-1", version, files(version), {})
        for thing in plan.things:
            thing.place()
        node = Path(layout.CONFIG_DIR).parent / "node"
        for path, text in (
            (node / "password", "password\n"),
            (Path(layout.DATA_DIR) / "server/token", "K10token\n"),
            (Path(layout.DATA_DIR) / "server/tls/server-ca.crt", "authority\n"),
            (Path(layout.DATA_DIR) / "server/cred/passwd", "passwd\n"),
            (Path(layout.DATA_DIR) / "server/manifests/mine.yaml", "mine\n"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        Path(layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
        marker.write("installed", version, applied=plan.digest, site="store-1", disabled_components=[])
        self.start(60)
        self.pass_time(60)

    # -- time -----------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let the time go by; the dead man's timer rings in the middle of it."""
        rings = self.up + seconds >= self.deadline
        seconds = min(seconds, self.deadline - self.up)
        self.up += seconds
        self.now += seconds
        if self.running is not None and seconds > 1:
            self.write(self.running)
        if rings:
            left_s, self.deadline = seconds, float("inf")
            raise DeadlineOverError(left_s)

    # -- k3s ------------------------------------------------------------------------------------------------

    @property
    def datastore(self) -> Path:
        return Path(layout.DATA_DIR) / "server/db/state.db"

    def binary(self) -> str:
        """The version of the program that would be started now."""
        content = Path(layout.K3S).read_text()
        assert content.startswith("binary of "), content
        return content.partition(" of ")[2]

    def start(self, timeout_s: float) -> None:
        """What `systemctl start` does, and the start of the server."""
        self.at_effect()
        self.wanted = True
        if self.running is None:
            self._serve(timeout_s)
        self.at_effect()

    def _serve(self, timeout_s: float) -> None:
        version = self.binary()
        if Path(activation_paths.hold()).exists():
            raise EdgeError("E-K3S-START", "the guard does not let it start", "")
        is_new = not self.datastore.exists()
        self.datastore.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.datastore, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "wal_autocheckpoint=0"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name, value)")
        token = (Path(layout.DATA_DIR) / "server/token").read_text()
        if is_new:
            self.clusters += 1
            database.execute("INSERT INTO kine (name, value) VALUES ('cluster', ?), ('token', ?)", ("one", token))
        before = database.execute("SELECT value FROM kine WHERE name='row' ORDER BY id DESC LIMIT 1").fetchone()
        by = before[0].partition(" ")[0] if before else version
        self.starts.append((version, by))
        self.database = database
        if database.execute("SELECT value FROM kine WHERE name='token'").fetchone()[0] != token:
            self._end()
            raise EdgeError("E-K3S-CRASH", "bootstrap data already found and encrypted with different token", "")
        if parse(by) > parse(version):  # type: ignore[operator]
            self._end()
            raise EdgeError("E-K3S-CRASH", f"the datastore was written by {by}: downgrade is not supported", "")
        self.running, self.started_up = version, self.up
        self.write(version)
        for name in ("server/tls/dynamic-cert.json", "server/manifests/packaged.yaml"):
            path = Path(layout.DATA_DIR) / name
            path.write_text(version)
            self.trust(path)
        Path(layout.KUBECONFIG).write_text(version)
        self.trust(Path(layout.KUBECONFIG))
        fault = self.faults.get(version) or (self.faults.get(DEBUG) if self.has_debug() else None)
        if fault == CRASH:
            self._end()
            self.pass_time(20)
            self.crashes += 3
            raise EdgeError("E-K3S-CRASH", "k3s crashed 3 times while starting: crash on demand", "")
        if fault == HANG:
            self.pass_time(timeout_s)
            raise EdgeError("E-K3S-START", f"k3s was not up after {timeout_s:g} s", "")
        self.pass_time(START_S)

    def write(self, version: str) -> None:
        """One change of the cluster, durable when this returns; marked with what made it."""
        assert self.database is not None
        version += " debug" if self.has_debug() else ""
        cursor = self.database.execute("INSERT INTO kine (name, value) VALUES ('row', ?)", (version,))
        self.written.append((int(cursor.lastrowid or 0), version))
        for path in self.datastore.parent.glob("state.db*"):
            self.trust(path)

    def has_debug(self) -> bool:
        """Whether the configuration is the one that plans bring."""
        return "debug: true" in Path(layout.CONFIG).read_text()

    def trust(self, path: Path) -> None:
        """What k3s writes it also syncs, or it can do without."""
        status = path.stat()
        self.trusted.add((status.st_dev, status.st_ino))

    def _end(self) -> None:
        """The process is gone. It has not closed its datastore: the write-ahead log stays."""
        self.running = None
        if self.database is None:
            return
        left = {path: path.read_bytes() for path in self.datastore.parent.glob("state.db*")}
        self.database.close()
        self.database = None
        for path, content in left.items():
            path.write_bytes(content)
            self.trust(path)

    def stop(self) -> None:
        self.at_effect()
        self.wanted = False
        self._end()
        self.pass_time(STOP_S)
        self.at_effect()

    def kill_containers(self) -> None:
        self.at_effect()
        self.cut_containers += 1
        self.at_effect()

    # -- the power ------------------------------------------------------------------------------------------

    def go_down(self) -> None:
        self._end()
        self.deadline = float("inf")

    def boot(self) -> None:
        """The node comes up; systemd starts k3s, which may fail, and is tried again for ever."""
        self.boots += 1
        self.up = 20.0
        self.now += 90.0
        self.wanted = True
        with contextlib.suppress(EdgeError):
            self._serve(60)

    # -- what the program is handed -------------------------------------------------------------------------

    def node(self) -> Node:
        return Node(FakeClock(self), FakeServices(self), FakeCluster(self))


DEBUG = "debug"  # a fault that comes with the configuration
NAMES = {"old": OLD, "new": NEW, "newer": NEWER, "debug": DEBUG}


class FakeClock(Clock):
    """Time passes by sleeping only."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def now(self) -> float:
        return self._machine.now

    def boot(self) -> tuple[str, float]:
        return f"boot-{self._machine.boots}", self._machine.up

    def sleep(self, seconds: float) -> None:
        self._machine.pass_time(seconds)

    @contextlib.contextmanager
    def dead_man(self, seconds: float) -> Iterator[None]:
        self._machine.deadline = self._machine.up + seconds
        try:
            yield
        finally:
            self._machine.deadline = float("inf")


class FakeServices(Services):
    """systemd, as far as it is asked."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def is_running(self) -> bool:
        return self._machine.wanted

    def restarts(self) -> int:
        return self._machine.crashes

    def start(self, timeout_s: float) -> None:
        self._machine.start(timeout_s)

    def stop(self) -> None:
        self._machine.stop()

    def kill_containers(self) -> None:
        self._machine.kill_containers()


class FakeCluster(Cluster):
    """The API of whatever runs."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.failing_checks: list[str] = []

    def look(self, site: str, version: str) -> dict[str, Any]:
        machine = self._machine
        found: dict[str, Any] = {"unmet": [], "workloads": {}, "helm": [], "images": [], "dns": False}
        if machine.running is None:
            found["unmet"] = [["E-VERIFY-SERVICE", "k3s does not run", "failing"]]
            return found
        if machine.running != version:
            found["unmet"].append(["E-VERIFY-VERSION", f"{machine.running} runs, not {version}", "degraded"])
        fault = machine.faults.get(machine.running)
        if machine.up - machine.started_up < READY_AFTER_S or fault == NEVER_READY:
            found["unmet"].append(["E-VERIFY-NODE", "the node is not Ready: starting", "failing"])
        tills = 1 if fault == LOSE_WORKLOAD else 2
        found["workloads"] = {"Deployment/shop/till": [tills, 2], "Deployment/kube-system/coredns": [1, 1]}
        found["dns"] = True
        return found

    def images(self) -> set[str]:
        return {path.read_text() for path in Path(layout.IMAGES_DIR).iterdir()}

    def failed_check(self, check: dict[str, Any]) -> str:
        name = f"{check['name']} on {self._machine.running}"
        return f"the check {check['name']!r} failed: no" if name in self.failing_checks else ""
