"""The cluster as its own API and its DNS show it, asked on the node itself."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_workloads, layout, node_facts, service
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Cluster
from ansible_collections.edgemgr.edge.plugins.module_utils.cluster_verdict import FAILING, judge_node, judge_version
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError

COMMAND_TIMEOUT_S = 60
CHECK_TIMEOUT_S = 10
DNS_TIMEOUT_S = 3
DNS_NAME = "kubernetes.default.svc.cluster.local"
_KINDS = {"Deployment": "deployments", "DaemonSet": "daemonsets", "StatefulSet": "statefulsets"}
_OK = 200


class LocalCluster(Cluster):
    """The real one."""

    def look(self, site: str, version: str) -> dict[str, Any]:
        """Look once; what cannot be read shows as a condition that does not hold."""
        found: dict[str, Any] = {"unmet": [], "workloads": {}, "helm": [], "images": [], "dns": False}
        unit = service.state()
        if unit["ActiveState"] != "active":
            message = "k3s does not run (systemd says {0}, {1})".format(unit["ActiveState"], unit["SubState"])
            found["unmet"].append(["E-VERIFY-SERVICE", message, FAILING])
            return found
        try:
            _read(found, site, version, node_facts.process_started_at(int(unit["MainPID"] or 0)))
        except KubeApiError as exc:
            found["unmet"].append(["E-VERIFY-API", str(exc), FAILING])
        else:
            found["dns"] = self.resolves()
        return found

    def resolves(self) -> bool:
        """Ask the DNS service, as a pod would, by UDP."""
        try:
            service_object = KubeApi().read_or_none("/api/v1/namespaces/kube-system/services/kube-dns") or {}
        except KubeApiError:
            return False
        address = service_object.get("spec", {}).get("clusterIP")
        return bool(address) and answers(address, DNS_NAME)

    def images(self) -> set[str] | None:
        """As containerd lists them."""
        try:
            done = subprocess.run(
                [layout.K3S, "ctr", "images", "ls", "-q"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                universal_newlines=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return set(done.stdout.split()) if done.returncode == 0 else None

    def failed_check(self, check: dict[str, Any]) -> str:
        """A check over HTTP, or a command of the node."""
        timeout_s = float(check.get("timeout_s") or CHECK_TIMEOUT_S)
        name = check.get("name") or check.get("url") or check["command"][0]
        why = _http(check, timeout_s) if check.get("url") else _command(check["command"], timeout_s)
        return f"the check {name!r} failed: {why}" if why else ""


def answers(address: str, name: str, port: int = 53) -> bool:
    """Whether a name server gives at least one IPv4 address for a name (RFC 1035, section 4)."""
    number = os.urandom(2)
    labels = b"".join(struct.pack("B", len(label)) + label for label in name.encode("ascii").split(b"."))
    question = number + struct.pack(">5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline = time.monotonic() + DNS_TIMEOUT_S
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as channel:
        try:
            channel.connect((address, port))
            channel.send(question)
            while True:
                channel.settimeout(max(deadline - time.monotonic(), 0.01))
                answer = channel.recv(4096)
                if answer[:2] == number and len(answer) >= 12:  # noqa: PLR2004  (the header's length)
                    flags, _, count = struct.unpack(">3H", answer[2:8])
                    return not flags & 0x000F and count > 0
        except OSError:
            return False


def _read(found: dict[str, Any], site: str, version: str, started_at: float) -> None:
    api = KubeApi()
    api.text("/readyz")
    unmet = judge_version(api.read("/version")["gitVersion"], version)
    node = api.read_or_none("/api/v1/nodes/" + site)
    lease = api.read_or_none("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + site)
    unmet += judge_node(node, lease, version, started_at, time.time())
    found["unmet"] = [list(each) for each in unmet]
    for kind, plural in _KINDS.items():
        found["workloads"].update(activation_workloads.workloads(kind, api.read("/apis/apps/v1/" + plural)["items"]))
    tasks = api.read("/apis/batch/v1/namespaces/kube-system/jobs")["items"]
    found["helm"] = activation_workloads.unfinished_helm(tasks)
    found["images"] = activation_workloads.missing_images(api.read("/api/v1/pods")["items"])


def _http(check: dict[str, Any], timeout_s: float) -> str:
    wanted = int(check.get("status") or _OK)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with contextlib.closing(opener.open(check["url"], timeout=timeout_s)) as answer:
            status = answer.status
    except urllib.error.HTTPError as exc:
        status = exc.code
        exc.close()
    except (OSError, ValueError) as exc:  # no route, no name, no TLS, no HTTP
        return str(exc)
    return "" if status == wanted else f"{status} was answered, not {wanted}"


def _command(words: list[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {timeout_s:g} s"
    except OSError as exc:
        return str(exc)
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "it ended with {0}{1}".format(done.returncode, ": " + said[-1][:200] if said else "")
