"""Reading a site's cluster through the official Kubernetes client: plain JSON, bounded, no redirects, no proxy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgemgr.links.kubeconfig import Kubeconfig

_CONNECT_S = 10.0
_READ_S = 20.0
_LIMIT_BYTES = 16 * 1024 * 1024
_PODS = 500
_SYSTEM = "kube-system"
_BAD_CERTIFICATE = "the Kubernetes API shows a certificate that is not of this cluster, or expired"


class ApiFaultError(Exception):
    """The API did not give what was asked; the text says what it did instead. Ends up as a reason in an Observation."""


@dataclass(frozen=True)
class ClusterState:
    """What the API said, as it came: JSON objects of a site that may be hostile."""

    version: Any
    ready: str  #: "ok", or what /readyz said is not ready
    nodes: Any
    system: Any  #: the kube-system namespace
    pods: Any  #: of kube-system, like the next two
    deployments: Any
    daemonsets: Any


def read_state(kubeconfig: Kubeconfig, port: int) -> ClusterState:
    """Ask the API behind 127.0.0.1:`port` for version, readiness, nodes and the system's own workloads.

    Raises:
        ApiFaultError: it did not answer, not with its own certificate, not in time, or not with what was asked.
    """
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError, SSLError

    try:
        with _api(kubeconfig, port) as api:
            core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
            asked: dict[str, Any] = {"_preload_content": False, "_request_timeout": (_CONNECT_S, _READ_S)}
            return ClusterState(
                version=_json(client.VersionApi(api).get_code(**asked)),
                ready=_ready(api),
                nodes=_json(core.list_node(limit=10, **asked)),
                system=_json(core.read_namespace(_SYSTEM, **asked)),
                pods=_json(core.list_namespaced_pod(_SYSTEM, limit=_PODS, **asked)),
                deployments=_json(apps.list_namespaced_deployment(_SYSTEM, limit=_PODS, **asked)),
                daemonsets=_json(apps.list_namespaced_daemon_set(_SYSTEM, limit=_PODS, **asked)),
            )
    except ApiException as exc:
        # The client turns a failed TLS handshake into status 0, and says no more than its text.
        bad_certificate = isinstance(exc.__context__, SSLError)
        raise ApiFaultError(_BAD_CERTIFICATE if bad_certificate else _status_sentence(exc.status)) from exc
    except SSLError as exc:
        raise ApiFaultError(_BAD_CERTIFICATE) from exc
    except (HTTPError, OSError) as exc:
        raise ApiFaultError("the Kubernetes API does not answer") from exc


def _status_sentence(status: int | None) -> str:
    if status in (401, 403):
        return "the Kubernetes API refuses the administrator's certificate (expired, or of an older cluster?)"
    return f"the Kubernetes API answers with status {status}"


def _ready(api: Any) -> str:
    # Through the same connection pool as the rest, but without the client's opinion that 500 is an exception.
    url = f"{api.configuration.host}/readyz"
    answer = api.rest_client.request("GET", url, _request_timeout=(_CONNECT_S, _READ_S)).response
    text = str(answer.read(_LIMIT_BYTES).decode(errors="replace"))
    if answer.status == 200:  # noqa: PLR2004
        return "ok"
    failing = [line[3:].split()[0] for line in text.splitlines() if line.startswith("[-]") and len(line) > 3]  # noqa: PLR2004
    return ", ".join(failing) or f"status {answer.status}"


def _json(response: Any) -> Any:
    data = response.read(_LIMIT_BYTES + 1)
    if len(data) > _LIMIT_BYTES:
        raise ApiFaultError("the Kubernetes API sends more than can be true")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ApiFaultError("the Kubernetes API sends something that is not JSON") from exc


@contextmanager
def _api(kubeconfig: Kubeconfig, port: int) -> Iterator[Any]:
    from kubernetes import client

    # TLS libraries read client certificates from files only: this one is in memory and has no name.
    identity = os.memfd_create("edgemgr-client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(identity, f"{kubeconfig.key_pem.reveal()}\n{kubeconfig.certificate_pem}".encode())
        configuration = client.Configuration(
            host=f"https://127.0.0.1:{port}",
            ca_cert_data=kubeconfig.ca_pem,
            cert_file=f"/proc/self/fd/{identity}",
            retries=False,  # neither repeats nor redirects: a site must not send us elsewhere
        )
        configuration.proxy = None  # it takes one from the environment otherwise
        with client.ApiClient(configuration) as api:
            yield api
    finally:
        os.close(identity)
