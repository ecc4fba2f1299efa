"""What a node asks of its cluster, its DNS and the user's checks, with real neighbours on the loopback."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import activation_cluster, layout, service
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_cluster import LocalCluster, answers
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApiError

NODE = {
    "metadata": {"name": "store-1"},
    "status": {"nodeInfo": {"kubeletVersion": "v1.34.1+k3s1"}, "conditions": [{"type": "Ready", "status": "True"}]},
}
RUNNING = {"ActiveState": "active", "SubState": "running", "MainPID": "0"}


@contextmanager
def name_server(reply: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """Answers one question on a port of its own."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as channel:
        channel.bind(("127.0.0.1", 0))
        channel.settimeout(10)

        def serve() -> None:
            question, asker = channel.recvfrom(4096)
            for each in reply(question):
                channel.sendto(each, asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield channel.getsockname()[1]
        finally:
            thread.join(10)


def answer(question: bytes, *, flags: int = 0x8180, count: int = 1) -> bytes:
    return question[:2] + struct.pack(">5H", flags, 1, count, 0, 0) + question[12:]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda q: [answer(q)], True),
        (lambda q: [b"\0\0" + answer(q)[2:] if q[:2] != b"\0\0" else b"\1\1", answer(q)], True),
        (lambda q: [answer(q, flags=0x8183)], False),
        (lambda q: [answer(q, count=0)], False),
    ],
)
def test_a_name_server_answers_or_not(reply: Callable[[bytes], list[bytes]], expected: bool) -> None:
    with name_server(reply) as port:
        assert answers("127.0.0.1", activation_cluster.DNS_NAME, port) is expected


def test_a_name_server_that_is_silent_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_cluster, "DNS_TIMEOUT_S", 0.05)
    with name_server(lambda _: []) as port:
        assert answers("127.0.0.1", "kubernetes.default.svc.cluster.local", port) is False


@pytest.fixture
def web() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_check_over_http_wants_one_status(web: str) -> None:
    cluster = LocalCluster()
    assert cluster.failed_check({"name": "till", "url": f"{web}/200"}) == ""
    assert cluster.failed_check({"name": "till", "url": f"{web}/404", "status": 404}) == ""
    failed = cluster.failed_check({"name": "till", "url": f"{web}/503"})
    assert failed == "the check 'till' failed: 503 was answered, not 200"
    assert "refused" in cluster.failed_check({"name": "till", "url": "http://127.0.0.1:1/"})


def test_a_check_by_a_command_wants_its_success() -> None:
    cluster = LocalCluster()
    assert cluster.failed_check({"name": "x", "command": ["/bin/true"]}) == ""
    said = cluster.failed_check({"name": "x", "command": ["/bin/sh", "-c", "echo one >&2; echo two >&2; exit 3"]})
    assert said == "the check 'x' failed: it ended with 3: two"
    assert "No such file" in cluster.failed_check({"name": "x", "command": ["/nowhere/x"]})
    late = cluster.failed_check({"name": "x", "command": ["/bin/sleep", "5"], "timeout_s": 0.05})
    assert late == "the check 'x' failed: it did not end within 0.05 s"


class Api:
    """The API's answers by path."""

    answers: dict[str, Any]

    def text(self, path: str) -> str:
        return str(self.read(path))

    def read(self, path: str) -> Any:
        return self.answers[path]

    def read_or_none(self, path: str) -> Any:
        return self.answers.get(path)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    empty: dict[str, Any] = {"items": []}
    Api.answers = {
        "/readyz": "ok",
        "/version": {"gitVersion": "v1.34.1+k3s1"},
        "/api/v1/nodes/store-1": NODE,
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/store-1": {
            "spec": {"renewTime": "2999-01-01T00:00:00.000000Z"}
        },
        "/apis/apps/v1/deployments": {"items": [{"metadata": {"namespace": "shop", "name": "till"}}]},
        "/apis/apps/v1/daemonsets": empty,
        "/apis/apps/v1/statefulsets": empty,
        "/apis/batch/v1/namespaces/kube-system/jobs": {"items": [{"metadata": {"name": "helm-install-x"}}]},
        "/api/v1/pods": empty,
    }
    monkeypatch.setattr(activation_cluster, "KubeApi", Api)
    monkeypatch.setattr(service, "state", lambda: RUNNING)
    return Api.answers


def test_a_look_tells_what_is_compared_later(api: dict[str, Any]) -> None:
    assert LocalCluster().look("store-1", "v1.34.1+k3s1") == {
        "unmet": [],
        "workloads": {"Deployment/shop/till": [0, 1]},
        "helm": ["helm-install-x"],
        "images": [],
        "dns": False,
    }


def test_a_look_tells_another_version_and_a_node_that_is_not_ready(api: dict[str, Any]) -> None:
    api["/api/v1/nodes/store-1"] = None
    found = LocalCluster().look("store-1", "v1.35.0+k3s1")
    assert [each[0] for each in found["unmet"]] == ["E-VERIFY-VERSION", "E-VERIFY-NODE"]


def test_a_look_at_an_api_that_does_not_answer_does_not_fail(
    api: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KubeApiError("the API does not answer: refused")

    monkeypatch.setattr(activation_cluster, "KubeApi", broken)
    found = LocalCluster().look("store-1", "v1.34.1+k3s1")
    assert found["unmet"] == [["E-VERIFY-API", "the API does not answer: refused", "failing"]]
    monkeypatch.setattr(service, "state", lambda: {"ActiveState": "failed", "SubState": "failed"})
    found = LocalCluster().look("store-1", "v1.34.1+k3s1")
    assert found["unmet"] == [["E-VERIFY-SERVICE", "k3s does not run (systemd says failed, failed)", "failing"]]


def test_images_are_those_that_containerd_lists(node_root: Path) -> None:
    k3s = Path(layout.K3S)
    k3s.parent.mkdir(parents=True)
    k3s.write_text('#!/bin/sh\n[ "$*" = "ctr images ls -q" ] && echo docker.io/shop/till:2\n')
    k3s.chmod(0o755)
    assert LocalCluster().images() == {"docker.io/shop/till:2"}
    k3s.write_text("#!/bin/sh\necho docker.io/shop/till:2\nexit 1\n")
    assert LocalCluster().images() is None
