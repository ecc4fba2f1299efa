"""The controllers: which pods must exist for deployments, daemon sets, stateful sets and batch tasks.

A new template makes new pods first; the old ones go when the new ones are ready.
"""

from __future__ import annotations

import hashlib
import json

from .journal import timestamp
from .kinds import DAEMONSETS, DEPLOYMENTS, JOBS, PODS, STATEFULSETS, new_metadata, new_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .datastore import Datastore
    from .kinds import Kind

#: On a pod: the uid of the workload that it is of. Kubernetes goes over a ReplicaSet, which is not kept here.
WORKLOAD = "lab.edgemgr/workload"
_HASH = "pod-template-hash"


class Workloads:
    """Makes and removes pods, and counts them into their workload's status."""

    def __init__(self, store: Datastore) -> None:
        self._store = store

    def step(self) -> None:
        """Bring the pods to what the workloads want."""
        by_owner: dict[str, list[dict[str, Any]]] = {}
        for pod in self._store.under(PODS.prefix()):
            owner = pod["metadata"].get("annotations", {}).get(WORKLOAD)
            if owner:
                by_owner.setdefault(owner, []).append(pod)
            elif "status" not in pod:  # one that a user made
                self._store.put(_key(pod), {**pod, "status": {"phase": "Pending"}})
        for kind in (DEPLOYMENTS, DAEMONSETS, STATEFULSETS, JOBS):
            for value in self._store.under(kind.prefix()):
                self._reconcile(kind, value, by_owner.pop(value["metadata"]["uid"], []))
        for pods in by_owner.values():  # their workload is gone
            for pod in pods:
                self._store.delete(_key(pod))

    def _reconcile(self, kind: Kind, value: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        template = value["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        current = [pod for pod in pods if pod["metadata"]["labels"].get(_HASH) == digest]
        old = [pod for pod in pods if pod not in current]
        wanted = value["spec"].get("replicas", 1) if kind in (DEPLOYMENTS, STATEFULSETS) else 1
        if kind is JOBS and any(pod["status"]["phase"] == "Succeeded" for pod in pods):
            self._count_task(value)
            return
        for number in range(len(current), wanted):
            pod = _pod(kind, value, digest, number)
            self._store.put(_key(pod), pod)
            current.append(pod)
        ready = [pod for pod in current if _is_ready(pod)]
        gone = current[wanted:] + (old if len(ready) >= wanted or kind is STATEFULSETS else [])
        for pod in gone:
            self._store.delete(_key(pod))
        left = [pod for pod in current[:wanted] + old if pod not in gone]
        self._count(kind, value, wanted, left, len([pod for pod in current[:wanted] if _is_ready(pod)]))

    def _count(self, kind: Kind, value: dict[str, Any], wanted: int, pods: list[dict[str, Any]], updated: int) -> None:
        ready = sum(_is_ready(pod) for pod in pods)
        status: dict[str, Any] = {"observedGeneration": value["metadata"].get("generation", 1)}
        if kind is DAEMONSETS:
            status.update({"desiredNumberScheduled": wanted, "currentNumberScheduled": len(pods)})
            status.update({"numberReady": ready, "numberAvailable": ready, "numberMisscheduled": 0})
            status.update({"updatedNumberScheduled": updated, "numberUnavailable": wanted - min(ready, wanted)})
        elif kind is JOBS:
            status.update({"active": len(pods), "ready": ready})
            status["startTime"] = value.get("status", {}).get("startTime") or timestamp()
        else:
            status.update({"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready})
            status.update({"updatedReplicas": updated, "unavailableReplicas": wanted - min(ready, wanted)})
        if kind is DEPLOYMENTS:
            status["conditions"] = _conditions(value, available=ready >= wanted)
        self._write_status(kind, value, status)

    def _count_task(self, value: dict[str, Any]) -> None:
        old = value.get("status", {})
        ended = old.get("completionTime") or timestamp()
        status = {
            "startTime": old.get("startTime") or ended,
            "completionTime": ended,
            "succeeded": 1,
            "ready": 0,
            "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": ended}],
        }
        self._write_status(JOBS, value, status)

    def _write_status(self, kind: Kind, value: dict[str, Any], status: dict[str, Any]) -> None:
        with self._store.changed:
            metadata = value["metadata"]
            key = kind.name_of(metadata["namespace"], metadata["name"])
            # Written only onto what was looked at: a change in between is seen at the next step.
            if (now := self._store.get(key)) is not None and now["metadata"] == metadata:
                self._store.put(key, {**now, "status": status})


def _conditions(value: dict[str, Any], *, available: bool) -> list[dict[str, Any]]:
    old = {c["type"]: c for c in value.get("status", {}).get("conditions", [])}
    same = old.get("Available", {}).get("status") == str(available)
    return [
        {
            "type": "Available",
            "status": str(available),
            "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            "lastTransitionTime": old["Available"]["lastTransitionTime"] if same else timestamp(),
        }
    ]


def _pod(kind: Kind, value: dict[str, Any], digest: str, number: int) -> dict[str, Any]:
    template, owner = value["spec"]["template"], value["metadata"]
    labels = {**(template.get("metadata", {}).get("labels") or {}), _HASH: digest}
    suffix = new_uid()[:5]
    parent = owner["name"]
    if kind is DEPLOYMENTS:
        parent = f"{owner['name']}-{digest}"
    elif kind is STATEFULSETS:
        suffix = str(number)
    elif kind is JOBS:
        labels["batch.kubernetes.io/job-name"] = labels["job-name"] = owner["name"]
    annotations = {**(template.get("metadata", {}).get("annotations") or {}), WORKLOAD: owner["uid"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{parent}-{suffix}",
            "namespace": owner["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": kind.api_version,
                    "kind": "ReplicaSet" if kind is DEPLOYMENTS else kind.kind,
                    "name": parent,
                    "uid": owner["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": dict(template["spec"]),
        "status": {"phase": "Pending"},
    }
    new_metadata(pod)
    return pod


def _key(pod: dict[str, Any]) -> str:
    return PODS.name_of(pod["metadata"]["namespace"], pod["metadata"]["name"])


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
