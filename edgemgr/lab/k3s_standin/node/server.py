"""`k3s server`: the order of a start, the loop, and the end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from . import etcd, helm
from .agent import Agent
from .api import ApiServer
from .bootstrap import restore_authorities, save_authorities, save_passwords
from .built import COMMIT, VERSION
from .certificates import AUTHORITY_FILES, ensure_certificates
from .config import data_dir, read_config
from .datastore import Datastore
from .encryption import encryption_of
from .environment import RUN_DIR, below_root, take_variable, write_private
from .faults import read_faults
from .journal import FatalError, log
from .kinds import NAMESPACES, new_metadata
from .kubeconfig import write_kubeconfig
from .kubelet import Kubelet
from .manifests import Manifests
from .server_token import server_password, write_token
from .unpack import SHIM, unpack
from .workloads import Workloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import ServerConfig

_TICK_S = 4.0
_SOON_S = 0.2
_COMPACT_EVERY_S = 300.0
_WRITTEN_BY = "/standin/written-by"
_ENCRYPTION = "../cred/encryption-config.json"  # beside the authorities, and kept with them
MINOR = int(VERSION.split(".")[1])


def serve(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; the exit status."""
    log("warning", "This is the stand-in for k3s of an edgemgr lab. It is not k3s and runs no containers.")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        faults = read_faults()
        _begin_faults(faults)
        server = _Server(read_config(arguments, MINOR), faults)
        if server.is_to_reset:
            server.reset()
        else:
            server.run()
    except FatalError as exc:
        log("fatal", str(exc))
        return 1
    return 0


def _end(number: int, _frame: object) -> None:
    log("info", f"Received signal {number}, shutting down")
    # At once, without closing the datastore: k3s leaves its write-ahead log behind, too.
    os._exit(0)


def _begin_faults(faults: dict[str, float]) -> None:
    if faults["crash"]:
        timer = threading.Timer(faults["crash"], _crash)
        timer.daemon = True
        timer.start()
    if faults["start_delay_s"]:
        time.sleep(faults["start_delay_s"])


def _crash() -> None:
    log("fatal", "crash on demand (a fault of the stand-in)")
    os._exit(1)


class _Server:
    def __init__(self, config: ServerConfig, faults: dict[str, float]) -> None:
        self.config = config
        self.faults = faults
        self.data_dir = below_root(data_dir(config))
        self.server_dir = self.data_dir / "server"
        self.port = config.number("https-listen-port", 6443)
        self.has_agent = not config.is_set("disable-agent")
        self.is_to_reset = config.is_set("cluster-reset")
        if config.text("cluster-reset-restore-path") and not self.is_to_reset:
            raise FatalError("invalid flag use; --cluster-reset required with --cluster-reset-restore-path")

    def reset(self) -> None:
        self._make_directories()
        log("info", f"Starting k3s {VERSION} ({COMMIT})")
        etcd.reset(self.server_dir, self.config)

    def run(self) -> None:
        self._make_directories()
        log("info", f"Starting k3s {VERSION} ({COMMIT})")
        name = self.config.text("node-name") or socket.gethostname().lower()
        address = _node_address(self.config)
        password = server_password(self.server_dir, self._configured_token())
        tls_dir = self.server_dir / "tls"
        store = Datastore(etcd.datastore_file(self.server_dir, self.config))
        _check_writer(store)
        restore_authorities(store, password, tls_dir)
        ensure_certificates(tls_dir, _names(self.config, name, address))
        kept = AUTHORITY_FILES
        if self.config.is_set("secrets-encryption"):
            store.encryption = encryption_of(tls_dir / _ENCRYPTION)
            kept = [*AUTHORITY_FILES, _ENCRYPTION]
        save_authorities(store, password, tls_dir, kept)
        api = ApiServer((self.config.text("bind-address") or "0.0.0.0", self.port), tls_dir, store)  # noqa: S104 — as k3s
        _make_namespaces(store)
        store.put(_WRITTEN_BY, {"version": VERSION})
        write_token(self.server_dir, password)
        save_passwords(store, password, tls_dir)
        api.start()
        manifests = Manifests(self.server_dir / "manifests", api.resources, self.config.many("disable"))
        manifests.write_packaged()
        mode, target = self.config.text("write-kubeconfig-mode"), self.config.text("write-kubeconfig")
        write_kubeconfig(tls_dir, self.port, target, mode)
        write_private(below_root(f"{RUN_DIR}/standin.pid"), f"{os.getpid()}\n")
        log("info", "k3s is up and running")
        _notify("READY=1")
        agent = None
        if self.has_agent:
            kubelet = Kubelet(store, self.data_dir, name, address, self.config.many("node-label"))
            agent = Agent(store, self.data_dir, kubelet, self.faults)
        _Loop(store, manifests, agent).run(api)

    def _make_directories(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        binary, shim = _own_file()
        unpack(binary, shim, self.data_dir)
        if self.faults["fill_disk"]:
            _fill(self.data_dir / "standin-fill", int(self.faults["fill_disk"]))
        self.server_dir.mkdir(mode=0o700, exist_ok=True)
        names = ["server/static/charts", "server/tls/etcd", "agent"]
        if self.has_agent:
            names += ["agent/images", "agent/etc", "agent/pod-manifests"]
        for name in names:
            (self.data_dir / name).mkdir(parents=True, exist_ok=True)

    def _configured_token(self) -> str:
        path = self.config.text("token-file")
        return below_root(path).read_text().strip() if path else self.config.text("token")


class _Loop:
    """Everything that goes on while the server runs, in one thread."""

    def __init__(self, store: Datastore, manifests: Manifests, agent: Agent | None) -> None:
        self.store = store
        self.manifests = manifests
        self.agent = agent

    def run(self, api: ApiServer) -> None:
        """Work whenever something changed or is due; else sleep."""
        workloads, agent = Workloads(self.store), self.agent
        compact_at = time.monotonic() + _COMPACT_EVERY_S
        settled = -1
        while True:
            writes, wait_s = self.store.writes, agent.step() if agent else _TICK_S
            self.manifests.apply_changed()
            if self.store.writes != settled:  # these two look at nothing but the datastore
                settled = self.store.writes
                helm.step(api.resources)
                workloads.step()
            if agent and agent.move_pods():
                wait_s = _SOON_S
            if agent and agent.import_new():
                continue
            if time.monotonic() > compact_at:
                compact_at = time.monotonic() + _COMPACT_EVERY_S
                self.store.compact()
            with self.store.changed:
                if self.store.writes == writes:
                    self.store.changed.wait(min(wait_s, _TICK_S))


def _own_file() -> tuple[Path, bytes]:
    """The file that this program lies in, and the shim that it carries."""
    loader = __spec__.loader
    archive = getattr(loader, "archive", "")
    if not archive:
        raise FatalError("the stand-in for k3s can only run from the file that its builder makes")
    member = str(Path(__file__).parent / SHIM)
    return Path(archive), loader.get_data(member)  # type: ignore[union-attr]


def _check_writer(store: Datastore) -> None:
    """Refuse a datastore that a newer minor wrote: k3s would fail on it in ways that depend on the versions."""
    written = store.get(_WRITTEN_BY)
    if written is not None and int(written["version"].split(".")[1]) > MINOR:
        raise FatalError(
            f"starting kubernetes: preparing server: the datastore was written by {written['version']},"
            f" which is newer than {VERSION}: downgrade is not supported"
        )


def _make_namespaces(store: Datastore) -> None:
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        key = NAMESPACES.name_of("", name)
        if store.get(key) is None:
            labels = {"kubernetes.io/metadata.name": name}
            value = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            value.update({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
            new_metadata(value)
            store.put(key, value)


def _node_address(config: ServerConfig) -> str:
    """The configured address, or that of the default route, without which k3s does not start."""
    if configured := config.many("node-ip"):
        return configured[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # a datagram socket sends nothing by connecting
        except OSError as exc:
            raise FatalError("no default routes found in /proc/net/route or /proc/net/ipv6_route") from exc
        return str(probe.getsockname()[0])


def _names(config: ServerConfig, name: str, address: str) -> list[str]:
    fixed = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    every = [*fixed, "localhost", name, "127.0.0.1", "::1", "10.43.0.1", address, *config.many("tls-san")]
    return list(dict.fromkeys(every))


def _fill(path: Path, mebibytes: int) -> None:
    try:
        with path.open("wb") as file:
            for _ in range(mebibytes):
                file.write(bytes(1 << 20))
    except OSError as exc:
        log("error", f"fill_disk (a fault of the stand-in): {exc.strerror}")


def _notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); nothing when it did not ask."""
    address = take_variable("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(message.encode())
    sys.stderr.flush()
