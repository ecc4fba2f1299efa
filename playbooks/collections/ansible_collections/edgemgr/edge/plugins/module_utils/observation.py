"""One look at the node and its cluster: the Observation, and which conditions do not hold."""

from __future__ import annotations

import datetime as dt
import platform
import time
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    layout,
    node_certificates,
    node_datastore,
    node_facts,
    service,
    token_record,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import (
    FAILING,
    Unmet,
    count_pods,
    health_of,
    judge_node,
    judge_version,
    judge_workloads,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError

_SYSTEM = "namespaces/kube-system"


def observe(site: str, wanted: str, disabled: set[str]) -> tuple[dict[str, Any], list[Unmet]]:
    """Look once: (Observation, conditions that do not hold). Never fails; what cannot be read is None."""
    now = time.time()
    found = _node(now)
    unit = service.state()
    if unit["ActiveState"] != "active":
        message = "k3s does not run (systemd says {0}, {1})".format(unit["ActiveState"], unit["SubState"])
        unmet = [Unmet("E-VERIFY-SERVICE", message, FAILING)]
    else:
        try:
            unmet = _cluster(found, site, wanted, disabled, main_pid=int(unit["MainPID"] or 0), now=now)
        except KubeApiError as exc:
            unmet = [Unmet("E-VERIFY-API", str(exc), FAILING)]
    found["health"], found["health_reason"] = health_of(unmet)
    return found, unmet


def _node(now: float) -> dict[str, Any]:
    disk = node_facts.file_system(layout.DATA_DIR)
    release = node_facts.os_release()
    certificates = node_certificates.read()
    return {
        "k3s_version": None,
        "node_name": None,
        "node_ready": False,
        "kubelet_version": None,
        "pods_ready": None,
        "pods_total": None,
        "cluster_id": None,
        "certificate_expires_at": None,
        "leaf_expires_at": _timestamp_or_none(node_certificates.first_end(certificates.leaves)),
        "ca_expires_at": _timestamp_or_none(node_certificates.first_end(certificates.authorities)),
        "datastore": node_datastore.kind(),
        "datastore_bytes": node_datastore.size_bytes(),
        "token_number": token_record.number(),
        "os": release.get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "arch": node_facts.arch(),
        "cpus": node_facts.cpus(),
        "memory_bytes": node_facts.memory_bytes(),
        "disk_free_bytes": disk["free_bytes"],
        "disk_size_bytes": disk["size_bytes"],
        "boot_at": _timestamp(node_facts.boot_at()),
        "python": node_facts.python()["version"],
        "checked_at": _timestamp(now),
    }


def _cluster(
    found: dict[str, Any], site: str, wanted: str, disabled: set[str], *, main_pid: int, now: float
) -> list[Unmet]:
    api = KubeApi()
    found["k3s_version"] = api.read("/version")["gitVersion"]
    found["certificate_expires_at"] = _timestamp(api.certificate_expires_at())
    found["cluster_id"] = api.read("/api/v1/" + _SYSTEM)["metadata"]["uid"]
    unmet = judge_version(found["k3s_version"], wanted)
    node = api.read_or_none("/api/v1/nodes/" + site)
    lease = api.read_or_none("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + site)
    of_node = judge_node(node, lease, wanted, node_facts.process_started_at(main_pid), now)
    if node is not None:
        found["node_name"] = node["metadata"]["name"]
        found["kubelet_version"] = node["status"].get("nodeInfo", {}).get("kubeletVersion")
        found["node_ready"] = not any(each.health == FAILING for each in of_node)
    pods = api.read("/api/v1/pods")["items"]
    found["pods_ready"], found["pods_total"] = count_pods(pods)
    deployments = api.read(f"/apis/apps/v1/{_SYSTEM}/deployments")["items"]
    daemonsets = api.read(f"/apis/apps/v1/{_SYSTEM}/daemonsets")["items"]
    system = [each for each in pods if each["metadata"]["namespace"] == "kube-system"]
    return unmet + of_node + judge_workloads(deployments, daemonsets, system, disabled)


def _timestamp_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else _timestamp(seconds)


def _timestamp(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
