"""The cluster's API as seen from the node itself, with the administrator's certificate that k3s keeps there.

Plain HTTPS instead of `k3s kubectl`: asking once a second would cost a small board more than the cluster does.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import layout

TIMEOUT_S = 10


class KubeApiError(Exception):
    """The API gave no usable answer; the text says why."""


class KubeApi:
    """Reads from the API server named in the kubeconfig.

    Raises:
        KubeApiError: from every method: no kubeconfig yet, nobody listens, another certificate, not status 200.
    """

    def __init__(self) -> None:
        try:
            with open(layout.KUBECONFIG, encoding="utf-8") as handle:
                text = handle.read()
        except OSError as exc:
            raise KubeApiError(f"k3s has not written {layout.KUBECONFIG} yet") from exc
        # k3s writes this file itself in a fixed form; a YAML reader is not part of Python.
        fields = dict(re.findall(r"^\s*-?\s*([a-z-]+):\s*(\S+)\s*$", text, re.MULTILINE))
        place = re.fullmatch(r"https://([^/:]+):(\d+)/?", fields.get("server", "").strip("\"'"))
        if place is None:
            raise KubeApiError(f"{layout.KUBECONFIG} names no API server")
        self._host, self._port = place.group(1), int(place.group(2))
        try:
            authority, certificate, key = (
                base64.b64decode(fields[name].strip("\"'"))
                for name in ("certificate-authority-data", "client-certificate-data", "client-key-data")
            )
            self._context = _context(authority, certificate, key)
        except (KeyError, ValueError, OSError) as exc:  # ssl.SSLError is an OSError
            raise KubeApiError(f"{layout.KUBECONFIG} is not what k3s writes: {exc}") from exc

    @property
    def address(self) -> str:
        """Where it listens, as a URL."""
        return f"https://{self._host}:{self._port}"

    def text(self, path: str) -> str:
        """The body of a GET."""
        return self._get(path)[0]

    def read(self, path: str) -> dict[str, Any]:
        """The JSON object that a GET gives."""
        try:
            answer: dict[str, Any] = json.loads(self.text(path))
        except ValueError as exc:
            raise KubeApiError(f"GET {path} gave no JSON") from exc
        return answer

    def read_or_none(self, path: str) -> dict[str, Any] | None:
        """The same, None for a thing that does not exist."""
        try:
            return self.read(path)
        except KubeApiError as exc:
            if exc.args[0].startswith("404 "):
                return None
            raise

    def certificate_expires_at(self) -> float:
        """When the API server's own certificate ends, in seconds since 1970."""
        return ssl.cert_time_to_seconds(self._get("/readyz")[1]["notAfter"])

    def _get(self, path: str) -> tuple[str, Any]:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._context)
        with contextlib.closing(connection):
            try:
                connection.connect()
                certificate = connection.sock.getpeercert()
                connection.request("GET", path, headers={"Accept": "application/json"})
                answer = connection.getresponse()
                body = answer.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException, socket.timeout) as exc:
                raise KubeApiError(f"the API does not answer: {exc}") from exc
        if answer.status != http.client.OK:
            raise KubeApiError(f"{answer.status} for GET {path}: {body.strip()[:200]}")
        return body, certificate


def _context(authority: bytes, certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.decode())
    # Python 3.13 asks for extensions (RFC 5280) that the authorities made by k3s do not carry.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # The ssl module takes a client's key only from a file: one in memory, so that no copy touches the disk.
    descriptor = os.memfd_create("edgemgr-client")
    try:
        os.write(descriptor, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
