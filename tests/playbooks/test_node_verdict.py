"""When is a cluster what it should be?"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import cluster_verdict as verdict

NOW = verdict.seconds("2026-11-20T12:00:00Z")
STARTED = NOW - 30
WANTED = "v1.33.5+k3s1"


def node(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metadata": {"name": "store-1"},
        "status": {
            "nodeInfo": {"kubeletVersion": WANTED},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "DiskPressure", "status": "False"},
                {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-20T11:59:45Z"},
            ],
        },
    }
    for name, value in changes.items():
        if name == "version":
            found["status"]["nodeInfo"]["kubeletVersion"] = value
        for condition in found["status"]["conditions"]:
            if condition["type"] == name:
                condition.update(value)
    return found


def lease(renewed_at: str = "2026-11-20T11:59:55.123456Z") -> dict[str, Any]:
    return {"spec": {"renewTime": renewed_at}}


def judge(found: dict[str, Any] | None, sign: dict[str, Any] | None = None) -> list[str]:
    return [each.code for each in verdict.judge_node(found, sign or lease(), WANTED, STARTED, NOW)]


def test_a_ready_node_of_the_right_version_with_a_fresh_lease_is_right() -> None:
    assert judge(node()) == []


def test_a_node_that_has_not_registered_is_failing() -> None:
    (unmet,) = verdict.judge_node(None, None, WANTED, STARTED, NOW)
    assert (unmet.code, unmet.health) == ("E-VERIFY-NODE", "failing")


def test_ready_with_the_old_version_right_after_an_upgrade_is_not_enough() -> None:
    stale = node(version="v1.32.9+k3s1")
    assert judge(stale, lease("2026-11-20T11:58:00.000000Z")) == ["E-VERIFY-VERSION", "E-VERIFY-NODE"]


def test_ready_from_before_the_service_was_started_is_not_enough() -> None:
    assert judge(node(), lease("2026-11-20T11:59:29.000000Z")) == ["E-VERIFY-NODE"]
    assert judge(node(), lease("2026-11-20T11:59:30.000000Z")) == []


def test_a_kubelet_that_fell_silent_is_noticed() -> None:
    long_ago = NOW - 10_000
    silent = verdict.judge_node(node(), lease("2026-11-20T11:58:59.000000Z"), WANTED, long_ago, NOW)
    assert [each.code for each in silent] == ["E-VERIFY-NODE"]


def test_without_a_lease_the_heartbeat_counts() -> None:
    assert [each.code for each in verdict.judge_node(node(), None, WANTED, STARTED, NOW)] == []
    old = node(Ready={"lastHeartbeatTime": "2026-11-20T11:50:00Z"})
    assert [each.code for each in verdict.judge_node(old, None, WANTED, NOW - 10_000, NOW)] == ["E-VERIFY-NODE"]
    none = node(Ready={"lastHeartbeatTime": None})
    assert [each.code for each in verdict.judge_node(none, None, WANTED, STARTED, NOW)] == ["E-VERIFY-NODE"]


def test_not_ready_says_why() -> None:
    found = node(Ready={"status": "False", "message": "container runtime network not ready"})
    unmet = verdict.judge_node(found, lease(), WANTED, STARTED, NOW)
    assert [each.message for each in unmet] == ["the node is not Ready: container runtime network not ready"]


def test_pressure_degrades_but_does_not_fail() -> None:
    unmet = verdict.judge_node(node(DiskPressure={"status": "True"}), lease(), WANTED, STARTED, NOW)
    assert verdict.health_of(unmet) == ("degraded", "the node reports DiskPressure")


def test_any_version_will_do_when_none_is_wanted() -> None:
    assert verdict.judge_version("v1.20.8+k3s1", "") == []
    assert verdict.judge_node(node(version="v1.20.8+k3s1"), lease(), "", STARTED, NOW) == []
    assert [each.code for each in verdict.judge_version("v1.20.8+k3s1", WANTED)] == ["E-VERIFY-VERSION"]


def deployment(name: str, have: int | None = 1, want: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"replicas": want}, "status": {"availableReplicas": have}}


def pod(name: str, *, ready: bool = True, phase: str = "Running", waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "metadata": {"name": name, "namespace": "kube-system"},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"image": f"docker.io/rancher/{name}:1", "state": state}],
        },
    }


ALL = [deployment(name) for name in verdict.PACKAGED.values()]


def test_all_packaged_workloads_available_is_right() -> None:
    assert verdict.judge_workloads(ALL, [], [pod("coredns")], set()) == []


def test_a_cluster_without_any_workload_yet_is_not_right() -> None:
    (unmet,) = verdict.judge_workloads([], [], [], set())
    assert unmet.message == "not deployed yet: coredns, local-path-provisioner, metrics-server, traefik"


def test_disabled_components_are_not_missed() -> None:
    some = [each for each in ALL if each["metadata"]["name"] in ("coredns", "metrics-server")]
    assert verdict.judge_workloads(some, [], [], {"traefik", "local-storage"}) == []


@pytest.mark.parametrize("have", [0, None])
def test_a_deployment_that_is_not_available_is_named(have: int | None) -> None:
    some = copy.deepcopy(ALL)
    some[0]["status"]["availableReplicas"] = have
    (unmet,) = verdict.judge_workloads(some, [], [], set())
    assert unmet.message == "not available: coredns (0/1)"


def test_a_deployment_scaled_to_nothing_is_right() -> None:
    assert verdict.judge_workloads([*ALL, deployment("extra", 0, 0)], [], [], set()) == []


def test_a_daemonset_counts_too() -> None:
    svclb = {"metadata": {"name": "svclb"}, "status": {"desiredNumberScheduled": 1, "numberAvailable": 0}}
    (unmet,) = verdict.judge_workloads(ALL, [svclb], [], set())
    assert unmet.code == "E-VERIFY-PODS"


@pytest.mark.parametrize("reason", verdict.IMAGE_TROUBLE)
def test_a_missing_image_is_named_first(reason: str) -> None:
    some = copy.deepcopy(ALL)
    some[0]["status"]["availableReplicas"] = 0
    unmet = verdict.judge_workloads(some, [], [pod("coredns", ready=False, waiting=reason)], set())
    assert [each.code for each in unmet] == ["E-VERIFY-IMAGES", "E-VERIFY-PODS"]
    assert "docker.io/rancher/coredns:1" in unmet[0].message


def test_completed_pods_are_not_counted() -> None:
    pods = [pod("coredns"), pod("helm-install-traefik", ready=False, phase="Succeeded"), pod("x", ready=False)]
    assert verdict.count_pods(pods) == (1, 2)


def test_the_worst_condition_decides_the_health() -> None:
    unmet = [verdict.Unmet("E-1", "a pod waits", "degraded"), verdict.Unmet("E-2", "the node is gone", "failing")]
    assert verdict.health_of(unmet) == ("failing", "the node is gone")
    assert verdict.health_of([]) == ("healthy", "")
