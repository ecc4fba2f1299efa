"""Worse than before, or not: two looks at a cluster compared."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_workloads import (
    compare,
    missing_images,
    unfinished_helm,
    workloads,
)

TILL, DNS = "Deployment/shop/till", "Deployment/kube-system/coredns"


def look(**changes: Any) -> dict[str, Any]:
    found = {"unmet": [], "workloads": {TILL: [2, 2], DNS: [1, 1]}, "helm": [], "images": [], "dns": True}
    return {**found, **changes}


PRESSURE = ["E-VERIFY-NODE", "the node reports DiskPressure", "degraded"]
NOT_READY = ["E-VERIFY-NODE", "the node is not Ready: x", "failing"]


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        ({}, {}, []),
        ({}, {"unmet": [NOT_READY]}, ["the node is not Ready: x"]),
        ({"unmet": [NOT_READY]}, {"unmet": [NOT_READY]}, ["the node is not Ready: x"]),
        ({}, {"unmet": [PRESSURE]}, ["the node reports DiskPressure"]),
        ({"unmet": [PRESSURE]}, {"unmet": [PRESSURE]}, []),
        ({}, {"workloads": {TILL: [1, 2], DNS: [1, 1]}}, ["Deployment/shop/till is not ready (1/2)"]),
        ({"workloads": {TILL: [0, 2], DNS: [1, 1]}}, {"workloads": {TILL: [1, 2], DNS: [1, 1]}}, []),
        ({"workloads": {TILL: [0, 0], DNS: [1, 1]}}, {"workloads": {TILL: [0, 2], DNS: [1, 1]}}, []),
        ({}, {"workloads": {TILL: [3, 3], DNS: [1, 1]}}, []),
        ({}, {"workloads": {TILL: [0, 0], DNS: [1, 1]}}, []),
        ({}, {"workloads": {DNS: [1, 1]}}, ["Deployment/shop/till is gone"]),
        ({"workloads": {TILL: [0, 2]}}, {"workloads": {DNS: [1, 1]}}, []),
        ({}, {"workloads": {TILL: [2, 2], DNS: [1, 1], "Deployment/shop/new": [0, 1]}}, []),
        (
            {},
            {"workloads": {TILL: [2, 2], DNS: [1, 1], "DaemonSet/kube-system/new": [0, 1]}},
            ["DaemonSet/kube-system/new is not ready (0/1)"],
        ),
        ({}, {"helm": ["helm-install-traefik"]}, ["helm-install-traefik is not complete"]),
        ({"helm": ["helm-install-traefik"]}, {"helm": ["helm-install-traefik"]}, []),
        ({"images": ["a"]}, {"images": ["a", "b", "c"]}, ["images are missing: b, c"]),
        ({}, {"dns": False}, ["the cluster's DNS does not answer"]),
        ({"dns": False}, {"dns": False}, []),
        ({}, {"unmet": [NOT_READY], "workloads": {}, "dns": False}, ["the node is not Ready: x"]),
    ],
)
def test_only_what_is_worse_than_before_counts(before: dict[str, Any], now: dict[str, Any], worse: list[str]) -> None:
    assert compare(look(**before), look(**now), is_back=False) == worse


def test_on_the_way_back_a_full_disk_is_no_reason_to_call_for_hands() -> None:
    assert compare(look(), look(unmet=[PRESSURE]), is_back=True) == []
    assert compare(look(), look(unmet=[NOT_READY]), is_back=True) != []


def test_ready_is_counted_as_each_kind_counts_it() -> None:
    def item(spec: dict[str, int], **status: Any) -> list[dict[str, Any]]:
        return [{"metadata": {"namespace": "n", "name": "x"}, "spec": spec, "status": status}]

    assert workloads("Deployment", item({"replicas": 3}, availableReplicas=2)) == {"Deployment/n/x": [2, 3]}
    assert workloads("Deployment", item({"replicas": 3})) == {"Deployment/n/x": [0, 3]}
    assert workloads("StatefulSet", item({}, readyReplicas=1)) == {"StatefulSet/n/x": [1, 1]}
    assert workloads("DaemonSet", item({}, numberAvailable=None, desiredNumberScheduled=1)) == {"DaemonSet/n/x": [0, 1]}


def test_helm_s_tasks_are_known_by_their_names() -> None:
    tasks = [
        {"metadata": {"name": "helm-install-traefik"}, "status": {"active": 1}},
        {"metadata": {"name": "helm-install-traefik-crd"}, "status": {"succeeded": 1}},
        {"metadata": {"name": "mine"}, "status": {}},
    ]
    assert unfinished_helm(tasks) == ["helm-install-traefik"]


def test_images_that_pods_wait_for_in_vain_are_named_once() -> None:
    waiting = {"image": "shop/till:2", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    fine = {"image": "shop/till:1", "state": {"running": {}}}
    pods = [{"status": {"containerStatuses": [waiting, fine]}}, {"status": {"initContainerStatuses": [waiting]}}, {}]
    assert missing_images(pods) == ["shop/till:2"]
