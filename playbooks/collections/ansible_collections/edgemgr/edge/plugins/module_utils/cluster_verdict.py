"""Is the cluster what it should be? Pure: the API's objects in, unmet conditions and health out.

"Active" is not "Ready", and right after an upgrade the node shows Ready with the *old* version from a stale object.
So the version that runs, a heartbeat since the service's start, and the workloads are looked at together.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

HEALTHY = "healthy"
DEGRADED = "degraded"
FAILING = "failing"

LEASE_FRESH_S = 60  # kubelets renew every 10 s
HEARTBEAT_FRESH_S = 330  # without a lease: an unchanged status is reported every 5 minutes

#: What k3s brings along (component as named by `disable` → deployment in kube-system).
PACKAGED = {
    "coredns": "coredns",
    "local-storage": "local-path-provisioner",
    "metrics-server": "metrics-server",
    "traefik": "traefik",
}
IMAGE_TROUBLE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


class Unmet(NamedTuple):
    """A condition that does not hold (yet). `health` is what the cluster is while it does not."""

    code: str
    message: str
    health: str


def judge_version(running: str, wanted: str) -> list[Unmet]:
    """The API server's version against the wanted one; nothing is wanted when that is empty."""
    if wanted and running != wanted:
        return [Unmet("E-VERIFY-VERSION", f"{running} runs, not {wanted}", DEGRADED)]
    return []


def judge_node(
    node: dict[str, Any] | None, lease: dict[str, Any] | None, wanted: str, started_at: float, now: float
) -> list[Unmet]:
    """The node object: Ready, of the wanted version, with a sign of life since the service was started.

    `started_at` and `now` are the node's clock in seconds since 1970, as are the times in the objects.
    """
    if node is None:
        return [Unmet("E-VERIFY-NODE", "the node has not registered yet", FAILING)]
    conditions = {each["type"]: each for each in node["status"].get("conditions", [])}
    ready = conditions.get("Ready", {})
    unmet = []
    if ready.get("status") != "True":
        why = ready.get("message") or ready.get("reason") or "no reason given"
        unmet.append(Unmet("E-VERIFY-NODE", f"the node is not Ready: {why[:300]}", FAILING))
    version = node["status"].get("nodeInfo", {}).get("kubeletVersion", "")
    if wanted and version != wanted:
        unmet.append(Unmet("E-VERIFY-VERSION", f"the kubelet is {version}, not {wanted}", DEGRADED))
    if not _is_alive(ready, lease, started_at, now):
        unmet.append(Unmet("E-VERIFY-NODE", "the node has given no sign of life since k3s was started", FAILING))
    unmet.extend(
        Unmet("E-VERIFY-NODE", f"the node reports {name}", DEGRADED)
        for name in PRESSURES
        if conditions.get(name, {}).get("status") == "True"
    )
    return unmet


def judge_workloads(
    deployments: list[dict[str, Any]], daemonsets: list[dict[str, Any]], pods: list[dict[str, Any]], disabled: set[str]
) -> list[Unmet]:
    """The system's workloads: everything packaged and not disabled exists and is available; no image is missing."""
    unmet = _missing_images(pods)
    present = {each["metadata"]["name"] for each in deployments}
    absent = [name for part, name in sorted(PACKAGED.items()) if part not in disabled and name not in present]
    if absent:
        unmet.append(Unmet("E-VERIFY-PODS", "not deployed yet: {0}".format(", ".join(absent)), DEGRADED))
    waiting = [
        "{0} ({1}/{2})".format(each["metadata"]["name"], have, want)
        for each, have, want in [(d, *_replicas(d)) for d in deployments] + [(d, *_daemons(d)) for d in daemonsets]
        if have < want
    ]
    if waiting:
        unmet.append(Unmet("E-VERIFY-PODS", "not available: {0}".format(", ".join(sorted(waiting))), DEGRADED))
    return unmet


def count_pods(pods: list[dict[str, Any]]) -> tuple[int, int]:
    """How many pods are ready, of how many that are meant to run (completed ones do not count)."""
    meant = [each for each in pods if each["status"].get("phase") != "Succeeded"]
    return sum(_is_pod_ready(each) for each in meant), len(meant)


def health_of(unmet: list[Unmet]) -> tuple[str, str]:
    """The worst health among the conditions, and the sentence that goes with it."""
    for health in (FAILING, DEGRADED):
        reasons = [each.message for each in unmet if each.health == health]
        if reasons:
            return health, "; ".join(reasons)
    return HEALTHY, ""


def seconds(timestamp: str) -> float:
    """An API time (`2026-11-20T20:45:33Z`, with or without a fraction) in seconds since 1970."""
    text = timestamp.rstrip("Z").partition(".")[0]
    return dt.datetime.strptime(text + "+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _is_alive(ready: dict[str, Any], lease: dict[str, Any] | None, started_at: float, now: float) -> bool:
    renewed = (lease or {}).get("spec", {}).get("renewTime")
    if renewed:
        at, fresh_s = seconds(renewed), LEASE_FRESH_S
    elif ready.get("lastHeartbeatTime"):
        at, fresh_s = seconds(ready["lastHeartbeatTime"]), HEARTBEAT_FRESH_S
    else:
        return False
    return at >= int(started_at) and now - at <= fresh_s


def _missing_images(pods: list[dict[str, Any]]) -> list[Unmet]:
    images = set()
    for pod in pods:
        status = pod["status"]
        for each in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
            if each.get("state", {}).get("waiting", {}).get("reason") in IMAGE_TROUBLE:
                images.add(each.get("image") or each.get("name", "?"))
    if not images:
        return []
    return [Unmet("E-VERIFY-IMAGES", "images are missing: {0}".format(", ".join(sorted(images))), DEGRADED)]


def _replicas(deployment: dict[str, Any]) -> tuple[int, int]:
    want = deployment.get("spec", {}).get("replicas", 1)
    return deployment.get("status", {}).get("availableReplicas", 0) or 0, want


def _daemons(daemonset: dict[str, Any]) -> tuple[int, int]:
    status = daemonset.get("status", {})
    return status.get("numberAvailable", 0) or 0, status.get("desiredNumberScheduled", 0) or 0


def _is_pod_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
