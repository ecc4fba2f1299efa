"""The server of the stand-in for k3s by itself: without an agent, with sealed secrets, on etcd."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests_support.standin_node import Node

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till"}, "data": {"pin": "bXktcGlu"}}


def configure(node: Node, *lines: str) -> None:
    fixed = f"https-listen-port: {node.port}\nnode-name: edge-1\nnode-ip: 127.0.0.1\n"
    node.write("etc/rancher/k3s/config.yaml", fixed + "".join(f"{line}\n" for line in lines))


def stored(node: Node, name: str) -> bytes:
    with closing(sqlite3.connect(node.data / "server/db/state.db")) as database:
        row = database.execute("SELECT value FROM kine WHERE name = ? ORDER BY id DESC", (name,)).fetchone()
    return bytes(row[0])


def test_without_an_agent_no_node_registers_and_nothing_runs(node: Node):
    configure(node, "disable-agent: true")
    node.start()
    node.wait(lambda: "coredns" in node.kubectl("get", "pods", "-n", "kube-system"), "pods are asked for")
    assert node.kubectl("get", "nodes", "-o", "name") == ""
    assert {status["phase"] for status in node.pods("kube-system").values()} == {"Pending"}
    assert not (node.data / "agent/containerd").exists()
    assert not (node.root / "etc/rancher/node/password").exists()


def test_a_named_configuration_takes_the_place_of_the_usual_one(node: Node):
    node.write("etc/own.yaml", f"https-listen-port: {node.port}\nnode-name: other\nnode-ip: 127.0.0.1\n")
    node.start(K3S_CONFIG_FILE="/etc/own.yaml")
    node.wait(lambda: node.kubectl("get", "nodes", "-o", "name") == "node/other\n", "the node of that configuration")
    node.stop()
    assert "open /etc/none.yaml: no such file" in node.start_and_fail(K3S_CONFIG_FILE="/etc/none.yaml")


def test_secrets_are_sealed_in_the_datastore_and_need_their_key(node: Node):
    configure(node, "secrets-encryption: true")
    node.start()
    node.kubectl("apply", "-f", "-", text=json.dumps(SECRET))
    assert json.loads(node.kubectl("get", "secret", "till", "-o", "json"))["data"] == SECRET["data"]
    kept = stored(node, "/registry/secrets/default/till")
    assert kept.startswith(b"k8s:enc:aescbc:v1:")
    assert b"bXktcGlu" not in kept
    node.stop()
    key = node.data / "server/cred/encryption-config.json"
    content = key.read_bytes()
    key.unlink()
    node.start()  # it comes back from the datastore, with the authorities
    assert key.read_bytes() == content
    assert json.loads(node.kubectl("get", "secret", "till", "-o", "json"))["data"] == SECRET["data"]
    node.stop()
    configure(node)
    node.start()
    refused = node.run("kubectl", "get", "secrets", "-o", "json")
    assert refused.returncode == 1
    assert "identity transformer tried to read encrypted data" in refused.stderr


def test_what_was_written_before_the_encryption_stays_readable(node: Node):
    node.start()
    node.kubectl("apply", "-f", "-", text=json.dumps(SECRET))
    node.stop()
    configure(node, "secrets-encryption: true")
    node.start()
    assert json.loads(node.kubectl("get", "secret", "till", "-o", "json"))["data"] == SECRET["data"]


def test_etcd_is_made_anew_from_a_snapshot(node: Node):
    configure(node, "cluster-init: true")
    node.start()
    node.kubectl("create", "namespace", "shop")
    assert node.run("etcd-snapshot", "save", "--name", "mine", "--etcd-snapshot-dir", "/srv").returncode == 0
    (snapshot,) = (node.root / "srv").iterdir()
    assert snapshot.name.startswith("mine-edge-1-")
    assert snapshot.stat().st_size % 512 == 32
    node.kubectl("delete", "namespace", "shop")
    node.stop()
    path = f"/srv/{snapshot.name}"
    reset = ("server", "--cluster-reset", f"--cluster-reset-restore-path={path}")
    done = node.run(*reset)
    assert done.returncode == 0, done.stderr
    assert "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now" in done.stderr
    again = node.run("server", "--cluster-reset")
    assert again.returncode == 1
    assert "cluster-reset was successfully performed, please remove the cluster-reset flag" in again.stderr
    node.start()
    assert "shop" in node.kubectl("get", "namespaces", "-o", "name")
    node.stop()
    assert "--cluster-reset required with --cluster-reset-restore-path" in node.run("server", reset[2]).stderr
    snapshot.write_bytes(snapshot.read_bytes()[:-1] + b"x")
    assert "expected sha256" in node.run(*reset).stderr
    (node.data / "server/token").unlink()
    assert "does not exist, please pass --token to complete the restoration" in node.run(*reset).stderr


def test_there_is_no_snapshot_of_a_datastore_that_is_not_etcd(node: Node):
    node.start()
    done = node.run("etcd-snapshot", "save")
    assert done.returncode == 1
    assert "etcd datastore disabled" in done.stderr
