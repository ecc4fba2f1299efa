"""The stand-in for k3s, started for real below a root of its own, and asked as edgemgr asks a site."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import ssl
import subprocess

import pytest
from kubernetes import client, utils
from kubernetes.client.exceptions import ApiException
from tests_support.standin_node import MANIFEST, OLD, Node


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
