"""A node whose k3s is the stand-in, below a root of its own: its files, its processes, and what kubectl says there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

OLD, NEW = "v1.33.5+k3s1", "v1.34.1+k3s1"
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec:
  replicas: 2
  selector:
    matchLabels: {app: till}
  template:
    metadata:
      labels: {app: till}
    spec:
      containers:
      - name: till
        image: rancher/mirrored-library-busybox:1.36.1
"""


class Node:
    """A site's file system below a directory, and the processes that run on it."""

    def __init__(self, root: Path, release: Path) -> None:
        self.root = root
        self.data = root / "var/lib/rancher/k3s"
        self.binary = root / "usr/local/bin/k3s"
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.binary.parent.mkdir(parents=True)
        self.install((release / "k3s").read_bytes())
        self.write(
            "etc/rancher/k3s/config.yaml", f"https-listen-port: {self.port}\nnode-name: edge-1\nnode-ip: 127.0.0.1\n"
        )
        self.add_images(release)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def install(self, content: bytes) -> None:
        beside = self.binary.with_name("k3s.new")
        beside.write_bytes(content)
        beside.chmod(0o755)
        beside.rename(self.binary)

    def add_images(self, release: Path) -> None:
        directory = self.data / "agent/images"
        directory.mkdir(parents=True, exist_ok=True)
        for archive in release.glob("*.tar.gz"):
            (directory / f"{release.name}.tar.gz").write_bytes(archive.read_bytes())

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "K3S_STANDIN_ROOT": str(self.root), **more}

    def start(self, **environment: str) -> None:
        """Start as systemd does, and wait for READY=1."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            address = self.root / "notify"
            address.unlink(missing_ok=True)
            notify.bind(str(address))
            notify.settimeout(20)
            with (self.root / "log").open("wb") as log:
                self.process = subprocess.Popen(
                    [str(self.binary), "server"],
                    env=self.environment(NOTIFY_SOCKET=str(address), **environment),
                    stderr=log,
                )
            assert notify.recv(100) == b"READY=1", self.log

    def start_and_fail(self, **environment: str) -> str:
        """Start, expect the end with status 1, and return the log's last line."""
        result = subprocess.run(
            [str(self.binary), "server"],
            env=self.environment(**environment),
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert result.returncode == 1
        return result.stderr.decode().splitlines()[-1]

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(10) == 0
            self.process = None

    def kill_containers(self) -> None:
        """What k3s-killall.sh does: end the processes whose arguments name the shim."""
        path = self.data / "agent/containerd/containers.json"
        for entry in json.loads(path.read_text()).values() if path.exists() else []:
            with contextlib.suppress(ProcessLookupError):
                if entry["id"].encode() in Path(f"/proc/{entry['pid']}/cmdline").read_bytes():
                    os.kill(entry["pid"], signal.SIGKILL)

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binary), *arguments],
            env=self.environment(),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kubectl(self, *arguments: str, text: str = "") -> str:
        result = self.run("kubectl", *arguments, text=text)
        assert result.returncode == 0, f"{result.stderr}{self.log}"
        return result.stdout

    @property
    def node(self) -> dict:
        return json.loads(self.kubectl("get", "node", "edge-1", "-o", "json"))

    def is_ready(self, version: str = "") -> bool:
        if "edge-1" not in self.kubectl("get", "nodes", "-o", "name"):
            return False
        status = self.node["status"]
        ready = {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
        return ready and status["nodeInfo"]["kubeletVersion"] == (version or OLD)

    def wait(self, condition, what: str, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.log}"
            time.sleep(0.1)

    def pods(self, namespace: str) -> dict[str, dict]:
        found = json.loads(self.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        return {pod["metadata"]["name"]: pod["status"] for pod in found}

    def wait_for_pods(self, namespace: str, count: int) -> None:
        def running() -> bool:
            phases = [status["phase"] for status in self.pods(namespace).values()]
            return len(phases) == count and set(phases) <= {"Running", "Succeeded"}

        self.wait(running, f"{count} pods run in {namespace}")

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()


def make_node(root: Path, releases: Path) -> Iterator[Node]:
    node = Node(root, releases / OLD)
    try:
        yield node
    finally:
        with contextlib.suppress(AssertionError):
            node.stop()
        if node.process is not None:
            node.process.kill()
            node.process.wait()
        node.kill_containers()
