"""Is everything ready again that was ready before? Pure: two looks at the cluster in, sentences out.

A look is a dict that can be written as JSON:
    unmet       [[code, sentence, health]] of the API, the node and its version
    workloads   {"Deployment/namespace/name": [ready, wanted]}
    helm        names of Helm's installation tasks that are not complete
    images      names of images that pods wait for in vain
    dns         whether the cluster's DNS answers
"""

from __future__ import annotations

from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import DEGRADED, IMAGE_TROUBLE

_SYSTEM = "/kube-system/"
_PRESSURE = "E-VERIFY-NODE"


def workloads(kind: str, items: list[dict[str, Any]]) -> dict[str, list[int]]:
    """How many pods of each workload are ready, of how many."""
    found = {}
    for each in items:
        spec, status = each.get("spec", {}), each.get("status", {})
        if kind == "DaemonSet":
            numbers = [status.get("numberAvailable"), status.get("desiredNumberScheduled")]
        elif kind == "StatefulSet":
            numbers = [status.get("readyReplicas"), spec.get("replicas", 1)]
        else:
            numbers = [status.get("availableReplicas"), spec.get("replicas", 1)]
        name = "{0}/{1}/{2}".format(kind, each["metadata"].get("namespace", ""), each["metadata"]["name"])
        found[name] = [number or 0 for number in numbers]
    return found


def unfinished_helm(tasks: list[dict[str, Any]]) -> list[str]:
    """The tasks that install Helm charts (k3s' Helm controller names them so) and are not complete."""
    return sorted(
        each["metadata"]["name"]
        for each in tasks
        if each["metadata"]["name"].startswith("helm-install-") and not each.get("status", {}).get("succeeded")
    )


def missing_images(pods: list[dict[str, Any]]) -> list[str]:
    """Images that pods wait for in vain."""
    found = set()
    for pod in pods:
        status = pod.get("status", {})
        for each in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
            if each.get("state", {}).get("waiting", {}).get("reason") in IMAGE_TROUBLE:
                found.add(str(each.get("image") or each.get("name", "?")))
    return sorted(found)


def compare(before: dict[str, Any], now: dict[str, Any], is_back: bool) -> list[str]:
    """What is worse than before the hop. Going back nobody asks for room on the disk any more: it is as it is."""
    known = {message for _, message, health in before["unmet"] if health == DEGRADED}
    worse = [
        message
        for code, message, health in now["unmet"]
        if not (health == DEGRADED and (message in known or (is_back and code == _PRESSURE)))
    ]
    worse += [
        _unready(name, *counts) for name, counts in sorted(now["workloads"].items()) if _is_worse(name, counts, before)
    ]
    if now["workloads"] or not now["unmet"]:  # an API that does not answer has lost nothing
        worse += [
            f"{name} is gone"
            for name, (ready, wanted) in sorted(before["workloads"].items())
            if ready >= wanted > 0 and name not in now["workloads"]
        ]
    worse += [f"{name} is not complete" for name in now["helm"] if name not in before["helm"]]
    lacking = [name for name in now["images"] if name not in before["images"]]
    if lacking:
        worse.append("images are missing: " + ", ".join(lacking))
    if before["dns"] and not now["dns"] and not worse:
        worse.append("the cluster's DNS does not answer")
    return worse


def _is_worse(name: str, counts: list[int], before: dict[str, Any]) -> bool:
    ready, wanted = counts
    if ready >= wanted:
        return False
    if name not in before["workloads"]:
        return _SYSTEM in name  # came with the version; what users add meanwhile is their business
    was_ready, was_wanted = before["workloads"][name]
    return bool(was_ready >= was_wanted > 0)


def _unready(name: str, ready: int, wanted: int) -> str:
    return f"{name} is not ready ({ready}/{wanted})"
