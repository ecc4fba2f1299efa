"""The node's life: it registers some time after the start, is Ready later still, and renews its lease.

The order is the real one, on a shorter scale: the service is active first; for a while an old node object still says
Ready with the old version; then the node registers, NotReady, with the new one; then it is Ready.
"""

from __future__ import annotations

import hashlib
import os
import time

from .encryption import TransformError
from .environment import NODE_PASSWORD, below_root, write_private
from .journal import log, timestamp
from .kinds import EVENTS, LEASES, NODES, SECRETS, new_metadata
from .node_object import node_object, set_conditions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from .datastore import Datastore

REGISTER_AFTER_S = 1.2
READY_AFTER_S = 1.3
LEASE_EVERY_S = 10.0
HEARTBEAT_EVERY_S = 60.0


class Kubelet:
    """Keeps the node object. `ready` turns true once the node may run pods."""

    def __init__(self, store: Datastore, data_dir: Path, name: str, address: str, labels: list[str]) -> None:
        self.name = name
        self.address = address
        self.ready = False
        self._store = store
        self._data_dir = data_dir
        self._labels = labels
        self._key = NODES.name_of("", name)
        self._register_at = time.monotonic() + REGISTER_AFTER_S
        self._ready_at = float("inf")
        self._registered = False
        self._lease_at = self._heartbeat_at = 0.0

    def step(self, faults: dict[str, float]) -> float:
        """Do what is due; the seconds until something is due again."""
        now = time.monotonic()
        if not self._registered:
            if now < self._register_at:
                return self._register_at - now
            self._register(faults)
        if not self.ready and now >= self._ready_at:
            self._become_ready()
        if self._registered and now >= self._lease_at:
            self._lease_at = now + LEASE_EVERY_S
            self._renew_lease()
        if self.ready and now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_EVERY_S
            self._heartbeat()
        return max(0.05, min(self._lease_at, self._ready_at if not self.ready else self._lease_at) - now)

    def _register(self, faults: dict[str, float]) -> None:
        try:
            fault = "" if self._password_fits() else "hash does not match"
        except TransformError as exc:
            fault = str(exc)
        if fault:
            log("error", f"unable to verify password for node {self.name}: {fault}")
            self._register_at = time.monotonic() + LEASE_EVERY_S
            return
        node = node_object(self._store.get(self._key), self.name, self.address, self._data_dir, self._labels)
        self._store.put(self._key, node)
        self._registered = True
        log("info", f"Successfully registered node {self.name}")
        if faults["never_ready"]:
            log("error", "Container runtime network not ready: cni plugin not initialized")
        else:
            self._ready_at = time.monotonic() + READY_AFTER_S + faults["ready_delay_s"]

    def _password_fits(self) -> bool:
        """Whether the node is the one that registered under this name first (docs.k3s.io, node registration)."""
        path = below_root(NODE_PASSWORD)
        if not path.exists():
            write_private(path, os.urandom(16).hex() + "\n")
        digest = hashlib.sha256(path.read_bytes().strip()).hexdigest()
        name = f"{self.name}.node-password.k3s"
        key = SECRETS.name_of("kube-system", name)
        secret = self._store.get(key)
        if secret is None:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "kube-system"}}
            secret.update({"type": "Opaque", "immutable": True, "data": {"hash": digest}})
            new_metadata(secret)
            self._store.put(key, secret)
        return bool(secret["data"]["hash"] == digest)

    def _become_ready(self) -> None:
        node = self._store.get(self._key)
        if node is None:  # somebody deleted it: register again
            self._registered = False
            return
        set_conditions(node, ready=True, message="kubelet is posting ready status")
        self._store.put(self._key, node)
        self.ready = True
        self._heartbeat_at = time.monotonic() + HEARTBEAT_EVERY_S
        event = {"apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "NodeReady", "count": 1}
        record_event(self._store, event, node, f"Node {self.name} status is now: NodeReady")

    def _heartbeat(self) -> None:
        node = self._store.get(self._key)
        if node is None:
            self._registered = self.ready = False
            return
        set_conditions(node, ready=True, message="kubelet is posting ready status")
        self._store.put(self._key, node)

    def _renew_lease(self) -> None:
        key = LEASES.name_of("kube-node-lease", self.name)
        lease = self._store.get(key) or {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40},
        }
        new_metadata(lease)
        lease["spec"]["renewTime"] = timestamp().replace("Z", ".000000Z")
        self._store.put(key, lease)


def record_event(store: Datastore, event: dict[str, Any], about: dict[str, Any], message: str) -> None:
    """Write an event, once for the same reason and object; the last time is kept.

    Args:
        store: where to.
        event: type, reason and count.
        about: the object that it happened to.
        message: what happened.
    """
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "default")
    name = f"{metadata['name']}.{hashlib.sha256((metadata['uid'] + event['reason']).encode()).hexdigest()[:16]}"
    key = EVENTS.name_of(namespace, name)
    old = store.get(key)
    value = {
        **event,
        "metadata": {"name": name, "namespace": namespace},
        "message": message,
        "source": {"component": "kubelet"},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            **({"namespace": namespace} if "namespace" in metadata else {}),
        },
        "firstTimestamp": old["firstTimestamp"] if old else timestamp(),
        "lastTimestamp": timestamp(),
    }
    if old:
        value["metadata"] = old["metadata"]
        value["count"] = old["count"] + 1
    new_metadata(value)
    store.put(key, value)
