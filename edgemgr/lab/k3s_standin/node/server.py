"""`k3s server`: the order of a start, the loop, and the end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from . import helm
from .api import ApiServer
from .bootstrap import restore_authorities, save_authorities
from .built import COMMIT, VERSION
from .certificates import AUTHORITY_FILES, ensure_certificates
from .config import data_dir, read_config
from .containers import Containers
from .datastore import Datastore
from .environment import RUN_DIR, below_root, take_variable, write_private
from .faults import read_faults
from .images import ImageStore, import_directory
from .journal import FatalError, log
from .kinds import NAMESPACES, new_metadata
from .kubeconfig import write_kubeconfig
from .kubelet import Kubelet
from .manifests import Manifests
from .pods import Pods
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
_FIRST_THAT_WATCHES_IMAGES = 32  # archives dropped in while running are imported since 1.32.0
_WRITTEN_BY = "/standin/written-by"
MINOR = int(VERSION.split(".")[1])


def serve(arguments: Sequence[str]) -> int:
    """Run until SIGTERM; the exit status."""
    log("warning", "This is the stand-in for k3s of an edgemgr lab. It is not k3s and runs no containers.")
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        faults = read_faults()
        _begin_faults(faults)
        config = read_config(arguments, MINOR)
        _Server(config, faults).run()
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

    def run(self) -> None:
        self._make_directories()
        log("info", f"Starting k3s {VERSION} ({COMMIT})")
        name = self.config.text("node-name") or socket.gethostname().lower()
        address = _node_address(self.config)
        password = server_password(self.server_dir, self._configured_token())
        tls_dir = self.server_dir / "tls"
        store = Datastore(self.server_dir / "db/state.db")
        _check_writer(store)
        restore_authorities(store, password, tls_dir)
        ensure_certificates(tls_dir, _names(self.config, name, address))
        save_authorities(store, password, tls_dir, AUTHORITY_FILES)
        api = ApiServer((self.config.text("bind-address") or "0.0.0.0", self.port), tls_dir, store)  # noqa: S104 — as k3s
        _make_namespaces(store)
        store.put(_WRITTEN_BY, {"version": VERSION})
        write_token(self.server_dir, password)
        api.start()
        manifests = Manifests(self.server_dir / "manifests", api.resources, self.config.many("disable"))
        manifests.write_packaged()
        mode, target = self.config.text("write-kubeconfig-mode"), self.config.text("write-kubeconfig")
        write_kubeconfig(tls_dir, self.port, target, mode)
        write_private(below_root(f"{RUN_DIR}/standin.pid"), f"{os.getpid()}\n")
        log("info", "k3s is up and running")
        _notify("READY=1")
        images = ImageStore(self.data_dir)
        import_directory(self.data_dir / "agent/images", images)
        kubelet = Kubelet(store, self.data_dir, name, address, self.config.many("node-label"))
        _Loop(self, store, manifests, kubelet, Pods(store, kubelet, images, Containers(self.data_dir))).run(api, images)

    def _make_directories(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        binary, shim = _own_file()
        unpack(binary, shim, self.data_dir)
        if self.faults["fill_disk"]:
            _fill(self.data_dir / "standin-fill", int(self.faults["fill_disk"]))
        self.server_dir.mkdir(mode=0o700, exist_ok=True)
        for name in ("server/static/charts", "server/tls/etcd", "agent/images", "agent/etc", "agent/pod-manifests"):
            (self.data_dir / name).mkdir(parents=True, exist_ok=True)

    def _configured_token(self) -> str:
        path = self.config.text("token-file")
        return below_root(path).read_text().strip() if path else self.config.text("token")


class _Loop:
    """Everything that goes on while the server runs, in one thread."""

    def __init__(self, server: _Server, store: Datastore, manifests: Manifests, kubelet: Kubelet, pods: Pods) -> None:
        self.server = server
        self.store = store
        self.manifests = manifests
        self.kubelet = kubelet
        self.pods = pods

    def run(self, api: ApiServer, images: ImageStore) -> None:
        """Work whenever something changed or is due; else sleep."""
        workloads = Workloads(self.store)
        compact_at = time.monotonic() + _COMPACT_EVERY_S
        directory = self.server.data_dir / "agent/images"
        archives, settled = _seen(directory), -1
        while True:
            writes, wait_s = self.store.writes, self.kubelet.step(self.server.faults)
            self.manifests.apply_changed()
            if self.store.writes != settled:  # these two look at nothing but the datastore
                settled = self.store.writes
                helm.step(api.resources)
                workloads.step()
            if self.kubelet.ready and self.pods.step(lose_workload=bool(self.server.faults["lose_workload"])):
                wait_s = _SOON_S
            if MINOR >= _FIRST_THAT_WATCHES_IMAGES and _seen(directory) != archives:
                archives = _seen(directory)
                import_directory(directory, images)
                continue
            if time.monotonic() > compact_at:
                compact_at = time.monotonic() + _COMPACT_EVERY_S
                self.store.compact()
            with self.store.changed:
                if self.store.writes == writes:
                    self.store.changed.wait(min(wait_s, _TICK_S))


def _seen(directory: Path) -> list[tuple[str, int, float]]:
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime) for p in directory.iterdir() if p.is_file())


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
