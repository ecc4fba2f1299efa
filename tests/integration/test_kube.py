"""A cluster seen through SSH: the stand-in for k3s below a root of its own, behind a real sshd."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, free_port, make_key, running_sshd

from edgemgr.lab.release_files import write_standin_release
from edgemgr.links import access_key, kube
from edgemgr.links.host_keys import fingerprint
from edgemgr.links.kube_client import ApiFaultError, read_state
from edgemgr.links.kubeconfig import Kubeconfig, parse
from edgemgr.model.cluster import Health, Observation
from edgemgr.model.secret import Secret
from edgemgr.model.site import Site
from edgemgr.model.target import Target
from edgemgr.store import schema
from edgemgr.store.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")
VERSION = "v1.33.5+k3s1"


class StandIn:
    """A k3s below `root`, which may be stopped and started."""

    def __init__(self, root: Path, release: Path) -> None:
        self.root = root
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for path in ("usr/local/bin", "etc/rancher/k3s", "var/lib/rancher/k3s/agent/images"):
            (root / path).mkdir(parents=True)
        shutil.copy(release / "k3s", root / "usr/local/bin/k3s")
        (root / "usr/local/bin/k3s").chmod(0o755)
        for archive in release.glob("*.tar.gz"):
            shutil.copy(archive, root / "var/lib/rancher/k3s/agent/images")
        (root / "etc/rancher/k3s/config.yaml").write_text(
            f"https-listen-port: {self.port}\nnode-name: edge-1\nnode-ip: 127.0.0.1\n"
        )

    @property
    def kubeconfig(self) -> Path:
        return self.root / "etc/rancher/k3s/k3s.yaml"

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.root / "usr/local/bin/k3s"), "server"],
                env={"PATH": "/usr/bin:/bin", "K3S_STANDIN_ROOT": str(self.root)},
                stderr=log,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def end_containers(self) -> None:
        path = self.root / "var/lib/rancher/k3s/agent/containerd/containers.json"
        for entry in json.loads(path.read_text()).values() if path.exists() else []:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if entry["id"].encode() in Path(f"/proc/{entry['pid']}/cmdline").read_bytes():
                    os.kill(entry["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandIn, ThrowawaySshd]]:
    directory = tmp_path_factory.mktemp("node")
    release = tmp_path_factory.mktemp("release") / VERSION
    write_standin_release(release, VERSION, images_mib=1)
    standin = StandIn(directory / "k3s", release)
    with running_sshd(directory) as sshd:
        standin.start()
        try:
            yield standin, sshd
        finally:
            standin.stop()
            standin.end_containers()


def _target(sshd: ThrowawaySshd) -> Target:
    return Target(
        site_id=1,
        name="store-1",
        address="127.0.0.1",
        port=sshd.port,
        user="root",
        host_key=sshd.host_keys[0],
        password=Secret(PASSWORD),
    )


def _observe_until(target: Target, health: Health, timeout_s: float = 30) -> Observation:
    deadline = time.monotonic() + timeout_s
    while True:
        seen = kube.observe(target)
        if seen.health == health:
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.3)


def test_a_running_cluster_is_observed_through_ssh(cluster: tuple[StandIn, ThrowawaySshd]) -> None:
    seen = _observe_until(_target(cluster[1]), Health.HEALTHY)
    assert (seen.k3s_version, seen.node_name, seen.health_reason) == (VERSION, "edge-1", "")
    assert seen.cluster_id
    assert seen.facts["nodes"] == 1
    assert seen.facts["system_pods"] > 0


def test_a_stopped_k3s_is_failing_and_the_site_is_not_unreachable(cluster: tuple[StandIn, ThrowawaySshd]) -> None:
    standin, sshd = cluster
    _observe_until(_target(sshd), Health.HEALTHY)
    standin.stop()
    seen = kube.observe(_target(sshd))
    assert seen.health == Health.FAILING
    assert "does not run" in seen.health_reason
    standin.start()
    _observe_until(_target(sshd), Health.HEALTHY)


def test_a_certificate_of_another_cluster_is_not_believed(cluster: tuple[StandIn, ThrowawaySshd]) -> None:
    standin, sshd = cluster
    _observe_until(_target(sshd), Health.HEALTHY)
    good = standin.kubeconfig.read_text()
    document = yaml.safe_load(good)
    entry = document["clusters"][0]["cluster"]
    entry["certificate-authority-data"] = document["users"][0]["user"]["client-certificate-data"]
    standin.kubeconfig.write_text(yaml.safe_dump(document))
    try:
        seen = kube.observe(_target(sshd))
    finally:
        standin.kubeconfig.write_text(good)
    assert seen.health == Health.FAILING
    assert "certificate" in seen.health_reason


def test_a_proxy_in_the_environment_is_not_asked(
    cluster: tuple[StandIn, ThrowawaySshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _observe_until(_target(cluster[1]), Health.HEALTHY)


@contextlib.contextmanager
def _hostile_api(standin: StandIn, handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    """An API with the right certificate that answers as `handler` does."""
    tls = standin.root / "var/lib/rancher/k3s/server/tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "serving-kube-apiserver.crt", tls / "serving-kube-apiserver.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def _known(standin: StandIn) -> Kubeconfig:
    return parse(standin.kubeconfig.read_text(), "store-1")


def test_a_redirect_of_a_site_is_not_followed(cluster: tuple[StandIn, ThrowawaySshd]) -> None:
    _observe_until(_target(cluster[1]), Health.HEALTHY)
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)

        class Redirecting(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{elsewhere.getsockname()[1]}/secret")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with _hostile_api(cluster[0], Redirecting) as port, pytest.raises(ApiFaultError, match="302"):
            read_state(_known(cluster[0]), port)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_an_endless_answer_is_cut_off(cluster: tuple[StandIn, ThrowawaySshd]) -> None:
    _observe_until(_target(cluster[1]), Health.HEALTHY)

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x" * 65536)

        def log_message(self, *_: object) -> None:
            pass

    with _hostile_api(cluster[0], Endless) as port, pytest.raises(ApiFaultError, match="more than"):
        read_state(_known(cluster[0]), port)


@pytest.fixture
def appliance(
    cluster: tuple[StandIn, ThrowawaySshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """An appliance that knows the site and whose key opens it; returns the environment of its commands."""
    from edgemgr.inventory.access import ensure_key
    from edgemgr.vault.vault import Vault

    sshd = cluster[1]
    _observe_until(_target(sshd), Health.HEALTHY)
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    schema.upgrade(database)
    with database.write() as session:
        site = Site(name="store-1", address="127.0.0.1", port=sshd.port, trust="pinned", host_key=sshd.host_keys[0])
        session.add(site)
        session.flush()
        site_id = site.id or 0
    public = ensure_key(database, Vault.open(tmp_path / "secret.key"), site_id)
    database.close()
    sshd.authorized_keys.parent.mkdir(exist_ok=True)
    sshd.authorized_keys.write_text(f"{access_key.SITE_OPTIONS} {public}\n")
    home = tmp_path / "home"
    home.mkdir()
    return {"EDGEMGR_STATE_DIR": str(tmp_path), "EDGEMGR_CONFIG": "/nowhere", "HOME": str(home), "PATH": os.defpath}


_RUN = """
import sys, typer
from edgemgr.cli import kubectl
app = typer.Typer()
kubectl.register(app)
app()
"""


def _command(appliance: dict[str, str], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        env=appliance,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_kubectl_on_the_site_passes_arguments_input_and_status(appliance: dict[str, str]) -> None:
    nodes = _command(appliance, "kubectl", "--on-site", "store-1", "--", "get", "nodes", "-o", "name")
    assert (nodes.returncode, nodes.stdout) == (0, "node/edge-1\n"), nodes.stderr
    missing = _command(appliance, "kubectl", "--on-site", "store-1", "get", "node", "no such; touch /tmp/pwned")
    assert missing.returncode == 1
    assert not Path("/tmp/pwned").exists()  # noqa: S108 - must not be there
    manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: made-by-input}\n"
    applied = _command(appliance, "kubectl", "--on-site", "store-1", "--", "apply", "-f", "-", text=manifest)
    assert applied.returncode == 0, applied.stderr


@pytest.mark.skipif(shutil.which("kubectl", path=os.defpath + ":/usr/local/bin") is None, reason="no kubectl here")
def test_kubectl_of_this_machine_goes_through_the_tunnel_and_leaves_no_file(
    appliance: dict[str, str], tmp_path: Path
) -> None:
    nodes = _command(appliance, "kubectl", "store-1", "--", "get", "--raw", "/version")
    assert nodes.returncode == 0, nodes.stderr
    assert json.loads(nodes.stdout)["gitVersion"] == VERSION
    assert list((tmp_path / "home").rglob("*")) == []


def test_a_printed_kubeconfig_leads_through_the_tunnel_while_it_is_open(
    appliance: dict[str, str], cluster: tuple[StandIn, ThrowawaySshd]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, "kubeconfig", "store-1"],
        env=appliance,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stderr.readline()  # says that the tunnel is open
        text = ""
        while "current-context: store-1" not in text:
            text += process.stdout.readline()
        port = int(yaml.safe_load(text)["clusters"][0]["cluster"]["server"].rsplit(":", 1)[1])
        assert read_state(parse(text, "store-1"), port).ready == "ok"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        process.stdout.close()
        process.stderr.close()
    with pytest.raises(ApiFaultError):
        read_state(parse(text, "store-1"), port)


def test_a_printed_kubeconfig_alone_needs_no_tunnel(appliance: dict[str, str]) -> None:
    printed = _command(appliance, "kubeconfig", "store-1", "--print", "--listen", "7001")
    assert yaml.safe_load(printed.stdout)["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7001"


def test_a_site_that_shows_another_key_is_stopped_by_a_command_too(
    appliance: dict[str, str], tmp_path: Path, cluster: tuple[StandIn, ThrowawaySshd]
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    with database.write() as session:
        site = session.get_one(Site, 1)
        site.host_key, site.key_installed = make_key(tmp_path / "other"), True
        site.host_key_fingerprint = fingerprint(site.host_key)
    before = len(cluster[1].logins())
    assert _command(appliance, "kubectl", "store-1", "--", "get", "nodes").returncode != 0
    with database.read() as session:
        assert session.get_one(Site, 1).trust == "mismatch"
    database.close()
    assert len(cluster[1].logins()) == before
