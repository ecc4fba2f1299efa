"""The stand-in for k3s, started for real below a root of its own, and asked as edgemgr asks a site."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config, utils
from kubernetes.client.exceptions import ApiException

from edgemgr.lab.k3s_standin.build import build_standin
from edgemgr.lab.release_files import write_standin_release

OLD, NEW = "v1.33.5+k3s1", "v1.34.1+k3s1"
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec:
  replicas: 2
  selector:
    matchLabels: {app: till}
  template:
    metadata:
      labels: {app: till}
    spec:
      containers:
      - name: till
        image: rancher/mirrored-library-busybox:1.36.1
"""


class Node:
    """A site's file system below a directory, and the processes that run on it."""

    def __init__(self, root: Path, release: Path) -> None:
        self.root = root
        self.data = root / "var/lib/rancher/k3s"
        self.binary = root / "usr/local/bin/k3s"
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.binary.parent.mkdir(parents=True)
        self.install((release / "k3s").read_bytes())
        self.write(
            "etc/rancher/k3s/config.yaml", f"https-listen-port: {self.port}\nnode-name: edge-1\nnode-ip: 127.0.0.1\n"
        )
        self.add_images(release)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def install(self, content: bytes) -> None:
        beside = self.binary.with_name("k3s.new")
        beside.write_bytes(content)
        beside.chmod(0o755)
        beside.rename(self.binary)

    def add_images(self, release: Path) -> None:
        directory = self.data / "agent/images"
        directory.mkdir(parents=True, exist_ok=True)
        for archive in release.glob("*.tar.gz"):
            (directory / f"{release.name}.tar.gz").write_bytes(archive.read_bytes())

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "K3S_STANDIN_ROOT": str(self.root), **more}

    def start(self, **environment: str) -> None:
        """Start as systemd does, and wait for READY=1."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            address = self.root / "notify"
            address.unlink(missing_ok=True)
            notify.bind(str(address))
            notify.settimeout(20)
            with (self.root / "log").open("wb") as log:
                self.process = subprocess.Popen(
                    [str(self.binary), "server"],
                    env=self.environment(NOTIFY_SOCKET=str(address), **environment),
                    stderr=log,
                )
            assert notify.recv(100) == b"READY=1", self.log

    def start_and_fail(self, **environment: str) -> str:
        """Start, expect the end with status 1, and return the log's last line."""
        result = subprocess.run(
            [str(self.binary), "server"],
            env=self.environment(**environment),
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert result.returncode == 1
        return result.stderr.decode().splitlines()[-1]

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(10) == 0
            self.process = None

    def kill_containers(self) -> None:
        """What k3s-killall.sh does: end the processes whose arguments name the shim."""
        path = self.data / "agent/containerd/containers.json"
        for entry in json.loads(path.read_text()).values() if path.exists() else []:
            with contextlib.suppress(ProcessLookupError):
                if entry["id"].encode() in Path(f"/proc/{entry['pid']}/cmdline").read_bytes():
                    os.kill(entry["pid"], signal.SIGKILL)

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binary), *arguments],
            env=self.environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kubectl(self, *arguments: str, text: str = "") -> str:
        result = self.run("kubectl", *arguments, text=text)
        assert result.returncode == 0, f"{result.stderr}{self.log}"
        return result.stdout

    @property
    def node(self) -> dict:
        return json.loads(self.kubectl("get", "node", "edge-1", "-o", "json"))

    def is_ready(self, version: str = "") -> bool:
        if "edge-1" not in self.kubectl("get", "nodes", "-o", "name"):
            return False
        status = self.node["status"]
        ready = {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
        return ready and status["nodeInfo"]["kubeletVersion"] == (version or OLD)

    def wait(self, condition, what: str, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.log}"
            time.sleep(0.1)

    def pods(self, namespace: str) -> dict[str, dict]:
        found = json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        return {pod["metadata"]["name"]: pod["status"] for pod in found}

    def wait_for_pods(self, namespace: str, count: int) -> None:
        def running() -> bool:
            phases = [status["phase"] for status in self.pods(namespace).values()]
            return len(phases) == count and set(phases) <= {"Running", "Succeeded"}

        self.wait(running, f"{count} pods run in {namespace}")

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("releases")
    for version in (OLD, NEW):
        write_standin_release(directory / version, version, images_mib=1)
    return directory


def make_node(root: Path, releases: Path) -> Iterator[Node]:
    node = Node(root, releases / OLD)
    try:
        yield node
    finally:
        with contextlib.suppress(AssertionError):
            node.stop()
        if node.process is not None:
            node.process.kill()
            node.process.wait()
        node.kill_containers()


@pytest.fixture
def node(tmp_path, releases) -> Iterator[Node]:
    yield from make_node(tmp_path / "site", releases)


@pytest.fixture(scope="module")
def running(tmp_path_factory, releases) -> Iterator[Node]:
    """A node that is Ready; for tests that only look, or keep to a namespace of their own."""
    for node in make_node(tmp_path_factory.mktemp("running") / "site", releases):
        node.start()
        node.wait(node.is_ready, "Ready")
        node.wait_for_pods("kube-system", 6)
        yield node


@pytest.fixture
def api(running: Node) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(running.root / "etc/rancher/k3s/k3s.yaml")) as api:
        yield api


def test_it_names_itself_a_stand_in_wherever_it_shows(running: Node):
    first, second = running.run("--version").stdout.splitlines()
    assert first.startswith(f"k3s version {OLD} (")
    assert second.startswith("go version ")
    assert "stand-in" in second
    assert "stand-in" in running.log.splitlines()[0]


def test_a_symbolic_link_is_the_tool_that_it_is_named_after(running: Node):
    link = running.binary.with_name("kubectl")
    link.symlink_to("k3s")
    result = subprocess.run(
        [str(link), "get", "nodes", "-o", "name"], env=running.environment(), capture_output=True, text=True, check=True
    )
    assert result.stdout == "node/edge-1\n"


def test_files_lie_where_k3s_has_them_and_secrets_are_private(running: Node):
    def mode(path: str) -> int:
        return (running.root / path).stat().st_mode & 0o777

    server = "var/lib/rancher/k3s/server"
    assert mode(server) == 0o700
    for secret in (f"{server}/token", f"{server}/tls/server-ca.key", f"{server}/cred/passwd"):
        assert mode(secret) == 0o600
    assert mode("etc/rancher/k3s/k3s.yaml") == mode("etc/rancher/node/password") == 0o600
    token = (running.root / server / "token").read_text()
    assert token.startswith("K10")
    assert token[67:76] == "::server:"
    assert (running.root / server / "node-token").resolve() == (running.root / server / "token").resolve()
    with contextlib.closing(sqlite3.connect(running.data / "server/db/state.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        names = {name for (name,) in db.execute("SELECT name FROM kine")}
    assert "/registry/minions/edge-1" in names


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz", "/version", "/api/v1/nodes"])
def test_without_a_certificate_the_answer_is_401_with_a_status(running: Node, path: str):
    status, body = ask(running, path)
    assert status == 401
    assert json.loads(body)["reason"] == "Unauthorized"


def test_ping_and_cacerts_need_no_certificate(running: Node):
    assert ask(running, "/ping") == (200, "pong")
    assert ask(running, "/cacerts") == (200, (running.data / "server/tls/server-ca.crt").read_text())


def ask(node: Node, path: str) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(node.data / "server/tls/server-ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", node.port, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_certificate_of_lesser_rights_is_forbidden(running: Node):
    tls = running.data / "server/tls"
    context = ssl.create_default_context(cafile=str(tls / "server-ca.crt"))
    context.load_cert_chain(tls / "client-scheduler.crt", tls / "client-scheduler.key")
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/api/v1/secrets")
        assert connection.getresponse().status == 403


def test_the_kubernetes_client_reads_version_node_and_workloads(api: client.ApiClient):
    assert client.VersionApi(api).get_code().git_version == OLD
    (node,) = client.CoreV1Api(api).list_node().items
    assert node.status.node_info.kubelet_version == OLD
    assert {c.type: c.status for c in node.status.conditions}["Ready"] == "True"
    deployments = client.AppsV1Api(api).list_namespaced_deployment("kube-system").items
    assert {d.metadata.name for d in deployments} == {"coredns", "local-path-provisioner", "metrics-server", "traefik"}
    assert all(d.status.available_replicas == 1 for d in deployments)
    assert client.AppsV1Api(api).list_daemon_set_for_all_namespaces().items[0].status.number_ready == 1
    assert client.BatchV1Api(api).list_namespaced_job("kube-system").items[0].status.succeeded == 1
    assert client.CoreV1Api(api).list_namespaced_pod("kube-system", label_selector="k8s-app=kube-dns").items
    assert client.CoreV1Api(api).list_event_for_all_namespaces(field_selector="reason=NodeReady").items


def test_the_kubernetes_client_makes_changes_and_removes_objects(api: client.ApiClient):
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": "lab"}})
    core.create_namespaced_config_map("lab", {"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}})
    core.patch_namespaced_config_map("c", "lab", {"data": {"a": "3", "b": None}})
    found = core.read_namespaced_config_map("c", "lab")
    assert found.data == {"a": "3"}
    stale = core.read_namespaced_config_map("c", "lab")
    found.data = {"x": "y"}
    core.replace_namespaced_config_map("c", "lab", found)
    with pytest.raises(ApiException) as caught:
        core.replace_namespaced_config_map("c", "lab", stale)
    assert caught.value.status == 409
    core.delete_namespace("lab")
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map("c", "lab")
    assert caught.value.status == 404


def test_applied_manifests_become_running_pods(running: Node, api: client.ApiClient):
    assert running.kubectl("apply", "-f", "-", text=MANIFEST).splitlines() == [
        "namespace/shop created",
        "deployment.apps/till created",
    ]
    running.wait_for_pods("shop", 2)
    assert running.kubectl("apply", "-f", "-", text=MANIFEST).count("unchanged") == 2
    running.kubectl("wait", "--for=condition=Available", "deployment/till", "-n", "shop")
    running.kubectl("delete", "deployment", "till", "-n", "shop")
    running.wait(lambda: not running.pods("shop"), "the pods are gone")
    objects = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made-by-utils"}, "data": {"a": "b"}}
    utils.create_from_dict(api, objects)
    assert "made-by-utils" in running.kubectl("get", "configmaps", "-o", "name")


def test_kubectl_says_what_kubectl_says(running: Node):
    assert json.loads(running.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == OLD
    assert running.kubectl("get", "--raw", "/readyz") == "ok"
    assert running.kubectl("get", "--raw", "/readyz?verbose").endswith("readyz check passed\n")
    head, line = running.kubectl("get", "nodes").splitlines()
    assert head.split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert line.split()[:3] == ["edge-1", "Ready", "control-plane"]
    missing = running.run("kubectl", "get", "pod", "nobody")
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): pods "nobody" not found\n')


def test_images_and_containers_are_listed(running: Node):
    names = running.run("ctr", "images", "ls", "-q").stdout.split()
    assert "docker.io/rancher/mirrored-pause:3.6" in names
    assert "mirrored-coredns" in running.run("crictl", "ps").stdout
    assert "client-admin.crt" in running.run("certificate", "check", "--output", "table").stdout


def test_before_the_kubeconfig_is_there_kubectl_is_refused(node: Node):
    result = node.run("kubectl", "get", "nodes")
    assert result.returncode == 1
    assert result.stderr.startswith("The connection to the server localhost:8080 was refused")


def test_active_is_not_ready(node: Node):
    node.start()
    assert not node.is_ready()
    node.wait(node.is_ready, "Ready")


def test_stopping_leaves_containers_running_and_killing_them_makes_new_ones(node: Node):
    node.start()
    node.wait_for_pods("kube-system", 6)
    before = node.pods("kube-system")
    node.stop()
    node.start()
    node.wait(node.is_ready, "Ready again")
    assert {name: container(status) for name, status in node.pods("kube-system").items()} == {
        name: container(status) for name, status in before.items()
    }
    node.stop()
    node.kill_containers()
    node.start()
    coredns = next(name for name in before if name.startswith("coredns"))
    node.wait(lambda: container(node.pods("kube-system")[coredns])[1] == 1, "a restarted container")


def container(status: dict) -> tuple[str, int]:
    return status["containerStatuses"][0].get("containerID", ""), status["containerStatuses"][0]["restartCount"]


def test_an_upgrade_shows_the_old_version_first_and_a_rollback_needs_the_old_datastore(node: Node, releases: Path):
    node.start()
    node.wait_for_pods("kube-system", 6)
    node.stop()
    backup = {path.name: path.read_bytes() for path in (node.data / "server/db").iterdir()}
    node.install((releases / NEW / "k3s").read_bytes())
    node.add_images(releases / NEW)
    node.start()
    assert node.node["status"]["nodeInfo"]["kubeletVersion"] == OLD
    assert json.loads(node.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == NEW
    node.wait(lambda: node.is_ready(NEW), "Ready with the new version")
    hashes = {link: (node.data / "data" / link).resolve() for link in ("current", "previous")}
    assert hashes["current"] != hashes["previous"]
    node.stop()
    node.install((releases / OLD / "k3s").read_bytes())
    assert "newer than v1.33.5+k3s1: downgrade is not supported" in node.start_and_fail()
    for path in (node.data / "server/db").iterdir():
        path.unlink()
    for name, content in backup.items():
        (node.data / "server/db" / name).write_bytes(content)
    node.start()
    node.wait(node.is_ready, "Ready with the old version")


def test_a_datastore_needs_its_token_and_brings_back_the_authorities(node: Node):
    node.start()
    node.stop()
    authority = node.data / "server/tls/server-ca.crt"
    old, token = authority.read_text(), (node.data / "server/token").read_text()
    (node.data / "server/token").write_text("K10" + "0" * 64 + "::server:other\n")
    assert "encrypted with different token" in node.start_and_fail()
    (node.data / "server/token").write_text(token)
    for path in (node.data / "server/tls").glob("*.*"):
        path.unlink()
    node.start()
    assert authority.read_text() == old
    assert (node.data / "server/token").read_text() == token


def test_an_old_version_ends_at_an_unknown_key_and_a_new_one_skips_it(node: Node):
    node.write("etc/rancher/k3s/config.yaml.d/more.yaml", "frobnicate: true\n")
    node.start()
    assert "Unknown flag --frobnicate found in config.yaml, skipping" in node.log
    node.stop()
    node.install(build_standin("v1.21.2+k3s1"))
    assert "flag provided but not defined: -frobnicate" in node.start_and_fail()


def test_without_the_pause_image_no_pod_starts_on_a_node_that_is_ready(node: Node):
    for archive in (node.data / "agent/images").iterdir():
        archive.write_bytes(archive.read_bytes()[:-1000])  # half an archive imports nothing
    node.start()
    node.wait(node.is_ready, "Ready")
    node.wait(lambda: "FailedCreatePodSandBox" in node.kubectl("get", "events", "-A", "-o", "json"), "a warning")
    assert {status["phase"] for status in node.pods("kube-system").values()} == {"Pending"}
    assert "Unable to import" in node.log


def test_faults_come_from_the_environment_and_from_the_release(node: Node):
    node.start(K3S_STANDIN_NEVER_READY="1")
    node.wait(lambda: "Successfully registered" in node.log, "registration")
    node.stop()
    node.install(build_standin(OLD, faults={"crash": 0.5}))
    assert "crash on demand" in node.start_and_fail()


def test_disabled_components_are_not_there_and_files_in_manifests_are_applied(node: Node):
    node.write("etc/rancher/k3s/config.yaml.d/more.yaml", "disable: [traefik, metrics-server]\n")
    node.start()
    node.wait_for_pods("kube-system", 2)
    (node.data / "server/manifests/shop.yaml").write_text(MANIFEST)
    node.wait_for_pods("shop", 2)


def test_a_certificate_that_expires_soon_is_renewed_at_start_with_its_key(node: Node):
    tls = node.data / "server/tls"
    node.start(CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS="30")
    soon = {name: (tls / f"client-admin.{name}").read_bytes() for name in ("crt", "key")}
    assert "WARNING" in node.run("certificate", "check", "--output", "table").stdout
    node.stop()
    node.start()
    assert (tls / "client-admin.key").read_bytes() == soon["key"]
    assert (tls / "client-admin.crt").read_bytes() != soon["crt"]
    assert "WARNING" not in node.run("certificate", "check", "--output", "table").stdout
    node.stop()
    assert node.run("certificate", "rotate").returncode == 0
    node.start()
    assert (tls / "client-admin.key").read_bytes() != soon["key"]
    assert node.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_rotated_token_opens_the_datastore_and_the_old_one_does_not(node: Node):
    node.start()
    old = (node.data / "server/token").read_text()
    assert node.run("token", "rotate", "--new-token", "fresh").returncode == 0
    node.stop()
    node.start()
    assert (node.data / "server/token").read_text().endswith("::server:fresh\n")
    node.stop()
    (node.data / "server/token").write_text(old)
    assert "encrypted with different token" in node.start_and_fail()


def test_a_release_that_loses_workload_keeps_the_system_and_crashes_the_rest(node: Node):
    node.start()
    node.wait(node.is_ready, "Ready")
    node.kubectl("apply", "-f", "-", text=MANIFEST)
    node.wait_for_pods("shop", 2)
    node.stop()
    node.install(build_standin(OLD, faults={"lose_workload": 1, "fill_disk": 2}))
    node.start()
    node.wait(lambda: node.kubectl("get", "pods", "-n", "shop").count("CrashLoopBackOff") == 2, "crash loops")
    node.wait_for_pods("kube-system", 6)
    deployment = json.loads(node.kubectl("get", "deployment", "till", "-n", "shop", "-o", "json"))
    assert deployment["status"]["readyReplicas"] == 0
    assert (node.data / "standin-fill").stat().st_size == 2 << 20
    warnings = node.kubectl("get", "events", "-n", "shop", "-o", "json", "--field-selector", "type=Warning")
    assert {event["reason"] for event in json.loads(warnings)["items"]} == {"BackOff"}


def test_a_port_that_is_taken_ends_the_start(node: Node):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", node.port))  # noqa: S104 — the address that the stand-in listens on
        other.listen()
        assert f"listen tcp 0.0.0.0:{node.port}: bind: Address already in use" in node.start_and_fail()
