"""What becomes of a pod on the node: it runs when its images are there, and nothing runs without the pause image."""

from __future__ import annotations

import time

from .built import VERSION
from .images import full_name
from .journal import log, timestamp
from .kinds import PODS
from .kubelet import record_event
from .packaged import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .containers import Containers
    from .datastore import Datastore
    from .images import ImageStore
    from .kubelet import Kubelet

_CREATING_S = 0.4
_TASK_S = 0.8  # a pod of a batch task is done after so long


class Pods:
    """Moves every pod of the node one step on."""

    def __init__(self, store: Datastore, kubelet: Kubelet, image_store: ImageStore, containers: Containers) -> None:
        self._store = store
        self._kubelet = kubelet
        self._images = image_store
        self._containers = containers
        self._since: dict[str, float] = {}  # uid → when its container was asked for
        self._warned: set[tuple[str, str]] = set()

    def step(self, *, lose_workload: bool) -> bool:
        """Move on; true when something is under way and wants another look soon."""
        pods = {pod["metadata"]["uid"]: pod for pod in self._store.under(PODS.prefix())}
        running = self._containers.running()
        for uid in running.keys() - pods.keys():
            self._containers.stop(uid)
        names = set(self._images.all())
        busy = False
        for uid, pod in pods.items():
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                continue
            lost = lose_workload and pod["metadata"]["namespace"] != "kube-system"
            busy |= self._move(pod, running.get(uid), names, lost=lost)
        return busy

    def _move(self, pod: dict[str, Any], entry: dict[str, Any] | None, names: set[str], *, lost: bool) -> bool:
        uid = pod["metadata"]["uid"]
        if lost:
            self._containers.stop(uid)
            self._waiting(pod, "CrashLoopBackOff", "back-off restarting failed container", "BackOff")
            return False
        if entry is not None:
            if pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name"):
                return self._finish_task(pod, entry)
            self._write(pod, "Running", [_running(c, entry) for c in pod["spec"]["containers"]])
            return False
        problem = self._problem(pod, names)
        if problem is not None:
            self._waiting(pod, *problem)
            return False
        return self._start(pod)

    def _start(self, pod: dict[str, Any]) -> bool:
        """Start a pod's container, some time after it was asked for."""
        uid = pod["metadata"]["uid"]
        since = self._since.setdefault(uid, time.monotonic())
        if time.monotonic() - since < _CREATING_S:
            self._waiting(pod, "ContainerCreating", "", "")
            return True
        del self._since[uid]
        old = pod["status"].get("containerStatuses") or [{}]
        attempt = old[0]["restartCount"] + 1 if old[0].get("containerID") else 0
        try:
            entry = self._containers.start(pod, attempt)
        except OSError as exc:
            self._waiting(pod, "RunContainerError", str(exc), "Failed")
            return False
        self._write(pod, "Running", [_running(c, entry) for c in pod["spec"]["containers"]])
        return True

    def _problem(self, pod: dict[str, Any], names: set[str]) -> tuple[str, str, str] | None:
        """Why a pod cannot start: the reason that shows, the message, and the event."""
        pause = images(VERSION)["pause"]
        if pause not in names:
            message = f'Failed to create pod sandbox: failed to get sandbox image "{pause}": failed to pull image'
            return "ContainerCreating", message, "FailedCreatePodSandBox"
        for container in pod["spec"]["containers"]:
            name = full_name(container["image"])
            policy = container.get("imagePullPolicy") or ("Always" if name.endswith(":latest") else "IfNotPresent")
            if policy == "Always" or name not in names:  # there is no registry to pull from
                if policy == "Never":
                    message = f'Container image "{name}" is not present with pull policy of Never'
                    return "ErrImageNeverPull", message, "ErrImageNeverPull"
                return "ImagePullBackOff", f'Failed to pull image "{name}": dial tcp: i/o timeout', "Failed"
        return None

    def _finish_task(self, pod: dict[str, Any], entry: dict[str, Any]) -> bool:
        if time.time() - entry["created"] < _TASK_S:
            self._write(pod, "Running", [_running(c, entry) for c in pod["spec"]["containers"]])
            return True
        self._containers.stop(pod["metadata"]["uid"])
        ended = {"exitCode": 0, "reason": "Completed", "finishedAt": timestamp()}
        statuses = [{**_running(c, entry), "ready": False, "started": False} for c in pod["spec"]["containers"]]
        self._write(pod, "Succeeded", [{**status, "state": {"terminated": ended}} for status in statuses])
        return False

    def _waiting(self, pod: dict[str, Any], reason: str, message: str, event: str) -> None:
        statuses = []
        old = {status["name"]: status for status in pod["status"].get("containerStatuses", [])}
        for container in pod["spec"]["containers"]:
            status = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
            status.update({"restartCount": 0, "started": False})
            known = old.get(container["name"], {})
            status.update({key: known[key] for key in ("restartCount", "containerID", "imageID") if key in known})
            status["state"] = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
            statuses.append(status)
        crashed = reason == "CrashLoopBackOff"
        self._write(pod, "Running" if crashed else "Pending", statuses)
        if event and (pod["metadata"]["uid"], event) not in self._warned:
            self._warned.add((pod["metadata"]["uid"], event))
            log("error", f"Error syncing pod {pod['metadata']['namespace']}/{pod['metadata']['name']}: {message}")
            warning = {"apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": event, "count": 1}
            record_event(self._store, warning, pod, message)

    def _write(self, pod: dict[str, Any], phase: str, statuses: list[dict[str, Any]]) -> None:
        metadata, old = pod["metadata"], pod["status"]
        ready = phase == "Running" and all(status["ready"] for status in statuses)
        node_ready = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
        before = {c["type"]: c for c in old.get("conditions", [])}
        conditions = []
        for kind, value in node_ready.items():
            same = before.get(kind, {}).get("status") == str(value)
            changed = before[kind]["lastTransitionTime"] if same else timestamp()
            conditions.append({"type": kind, "status": str(value), "lastTransitionTime": changed})
        pod["spec"]["nodeName"] = self._kubelet.name
        pod["status"] = {
            "phase": phase,
            "conditions": conditions,
            "hostIP": self._kubelet.address,
            "startTime": old.get("startTime") or timestamp(),
            "containerStatuses": statuses,
            "qosClass": "BestEffort",
        }
        if phase == "Running":
            number = int(metadata["uid"][:2], 16) % 250 + 2
            pod["status"].update({"podIP": f"10.42.0.{number}", "podIPs": [{"ip": f"10.42.0.{number}"}]})
        # Somebody may have deleted the pod meanwhile: then it stays deleted.
        with self._store.changed:
            key = PODS.name_of(metadata["namespace"], metadata["name"])
            if self._store.get(key) is not None:
                self._store.put(key, pod)


def _running(container: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": full_name(container["image"]),
        "imageID": full_name(container["image"]),
        "containerID": f"containerd://{entry['id']}",
        "ready": True,
        "started": True,
        "restartCount": entry["attempt"],
        "state": {"running": {"startedAt": timestamp(entry["created"])}},
    }
