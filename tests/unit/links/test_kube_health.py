from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.links.kube_client import ClusterState
from edgemgr.links.kube_health import assess
from edgemgr.model.cluster import Health

NOW = datetime(2026, 11, 1, tzinfo=UTC)
VERSION = "v1.33.5+k3s1"


def _node(ready: str = "True", version: str = VERSION, **pressure: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "message": "kubelet says so"}]
    conditions += [{"type": name, "status": status} for name, status in pressure.items()]
    info = {"kubeletVersion": version, "architecture": "amd64", "osImage": "Debian 12"}
    return {"metadata": {"name": "node-1"}, "status": {"conditions": conditions, "nodeInfo": info}}


def _pod(name: str, phase: str = "Running", ready: str = "True") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}}


def _items(*items: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(items)}


GOOD = ClusterState(
    version={"gitVersion": VERSION},
    ready="ok",
    nodes=_items(_node()),
    system={"metadata": {"uid": "3f1c"}},
    pods=_items(_pod("coredns-1"), _pod("helm-install-1", "Succeeded", "False")),
    deployments=_items({"metadata": {"name": "coredns"}, "spec": {"replicas": 1}, "status": {"availableReplicas": 1}}),
    daemonsets=_items(),
)


def test_a_healthy_cluster_is_told_with_its_facts() -> None:
    seen = assess(GOOD, NOW)
    assert (seen.health, seen.health_reason) == (Health.HEALTHY, "")
    assert (seen.k3s_version, seen.node_name, seen.arch, seen.os) == (VERSION, "node-1", "amd64", "Debian 12")
    assert seen.cluster_id == "3f1c"


@pytest.mark.parametrize(
    ("change", "health", "words"),
    [
        ({"ready": "etcd"}, Health.FAILING, "API is not ready: etcd"),
        ({"nodes": _items()}, Health.FAILING, "no node"),
        ({"nodes": _items(_node(ready="False"))}, Health.FAILING, "kubelet says so"),
        ({"nodes": _items(_node(ready="Unknown"))}, Health.FAILING, "not ready"),
        ({"nodes": _items(_node(DiskPressure="True"))}, Health.DEGRADED, "DiskPressure"),
        ({"nodes": _items(_node(version="v1.32.9+k3s1"))}, Health.DEGRADED, "still reports v1.32.9+k3s1"),
        ({"pods": _items(_pod("traefik-1", "Pending", "False"))}, Health.DEGRADED, "pod traefik-1"),
        ({"pods": _items(_pod("traefik-1", ready="False"))}, Health.DEGRADED, "pod traefik-1"),
        ({"pods": _items(_pod("old-1", "Failed", "False"))}, Health.HEALTHY, ""),
        ({"deployments": _items({"metadata": {"name": "coredns"}})}, Health.DEGRADED, "deployment coredns"),
        (
            {"daemonsets": _items({"metadata": {"name": "svclb"}, "status": {"desiredNumberScheduled": 1}})},
            Health.DEGRADED,
            "daemonset svclb",
        ),
    ],
)
def test_each_trouble_has_its_word_and_reason(change: dict[str, Any], health: Health, words: str) -> None:
    seen = assess(dataclasses.replace(GOOD, **change), NOW)
    assert seen.health == health
    assert words in seen.health_reason


def test_a_long_list_of_troubles_is_cut_in_the_sentence_and_kept_in_the_facts() -> None:
    pods = _items(*(_pod(f"p{n}", "Pending", "False") for n in range(9)))
    seen = assess(dataclasses.replace(GOOD, pods=pods), NOW)
    assert seen.health_reason.endswith("and 4 more")
    assert len(seen.facts["not_ready"]) == 9


def test_escape_sequences_from_a_site_do_not_reach_the_terminal() -> None:
    nodes = _items(_node(ready="\x1b[2J"))
    nodes["items"][0]["status"]["conditions"][0]["message"] = "\x1b]0;pwned\x07" + "A" * 500
    seen = assess(dataclasses.replace(GOOD, nodes=nodes), NOW)
    assert seen.health_reason.isprintable()
    assert len(seen.health_reason) < 200


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "metadata", "status", "conditions", "name", "spec", "nodeInfo", "type", "phase"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json, _json, _json, _json)
def test_whatever_json_a_site_sends_an_observation_comes_out(a: Any, b: Any, c: Any, d: Any) -> None:
    state = ClusterState(version=a, ready="ok", nodes=b, system=c, pods=d, deployments=b, daemonsets=c)
    assert assess(state, NOW).health in set(Health)
