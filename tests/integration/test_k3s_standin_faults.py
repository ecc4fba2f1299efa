"""Images, containers and manifests of the stand-in for k3s, and the faults that it shows on demand."""

from __future__ import annotations

import json
import socket

from tests_support.standin_node import MANIFEST, OLD, Node

from edgemgr.lab.k3s_standin.build import build_standin


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


def test_without_the_pause_image_no_pod_starts_on_a_node_that_is_ready(node: Node):
    for archive in (node.data / "agent/images").iterdir():
        archive.write_bytes(archive.read_bytes()[:-1000])  # half an archive imports nothing
    node.start()
    node.wait(node.is_ready, "Ready")
    node.wait(lambda: "FailedCreatePodSandBox" in node.kubectl("get", "events", "-A", "-o", "json"), "a warning")
    assert {status["phase"] for status in node.pods("kube-system").values()} == {"Pending"}
    assert "Unable to import" in node.log


def test_disabled_components_are_not_there_and_files_in_manifests_are_applied(node: Node):
    node.write("etc/rancher/k3s/config.yaml.d/more.yaml", "disable: [traefik, metrics-server]\n")
    node.start()
    node.wait_for_pods("kube-system", 2)
    (node.data / "server/manifests/shop.yaml").write_text(MANIFEST)
    node.wait_for_pods("shop", 2)


def test_faults_come_from_the_environment_and_from_the_release(node: Node):
    node.start(K3S_STANDIN_NEVER_READY="1")
    node.wait(lambda: "Successfully registered" in node.log, "registration")
    node.stop()
    node.install(build_standin(OLD, faults={"crash": 0.5}))
    assert "crash on demand" in node.start_and_fail()


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
