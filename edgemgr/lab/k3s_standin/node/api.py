"""The API over TLS: who may ask, what a path means, and how an answer looks."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from .discovery import api_group, api_groups, api_versions, probe_text, resource_list, version_info
from .encryption import TransformError
from .journal import FatalError, log
from .kinds import KINDS, by_path
from .resources import ApiError, Resources, Target
from .token_rotate import PATH as TOKEN_PATH
from .token_rotate import answer as rotate_token
from .yaml_subset import YamlError, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from .datastore import Datastore

_PROBES = ("/readyz", "/livez", "/healthz")
_IDLE_TIMEOUT_S = 90
_BODY_LIMIT_BYTES = 3 << 20  # as the API server's


class ApiServer(ThreadingHTTPServer):
    """Listens on the API's port; every connection has a thread of its own."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], tls_dir: Path, store: Datastore) -> None:
        """Bind the port.

        Raises:
            FatalError: something else listens there.
        """
        self.resources = Resources(store)
        self.store, self.server_dir = store, tls_dir.parent
        self.authority = (tls_dir / "server-ca.crt").read_bytes()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self.tls.load_cert_chain(tls_dir / "serving-kube-apiserver.crt", tls_dir / "serving-kube-apiserver.key")
        self.tls.load_verify_locations(tls_dir / "client-ca.crt")
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        try:
            super().__init__(address, _Handler)
        except OSError as exc:
            raise FatalError(
                f"starting kubernetes: listen tcp {address[0]}:{address[1]}: bind: {exc.strerror}"
            ) from exc

    def start(self) -> None:
        """Serve in the background. Nobody ends it, so it need not look whether it is to end."""
        threading.stack_size(512 << 10)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 86400}, daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, so that a slow client delays nobody."""
        request.settimeout(_IDLE_TIMEOUT_S)
        try:
            with self.tls.wrap_socket(request, server_side=True) as connection:
                super().finish_request(connection, client_address)
        except (ssl.SSLError, OSError) as exc:
            log("info", f"http: TLS handshake error from {client_address[0]}:{client_address[1]}: {exc}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no matter."""


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S
    disable_nagle_algorithm = True  # headers and body are two writes

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 — named by http.server

    def version_string(self) -> str:
        return "edgemgr-lab-stand-in"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — named by http.server
        """k3s logs no requests."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path).rstrip("/") or "/", dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            body = self._body()
            if path == "/ping":
                self._send(200, "pong")
            elif path == "/cacerts":
                self._send(200, self.server.authority.decode())
            elif path == TOKEN_PATH:
                asked = self.headers.get("Authorization", "")
                rotate_token(self.server.server_dir, self.server.store, self.command, asked, body)
                self._send(200, "")
            else:
                self._authorize()
                self._route(path, query, body)
        except ApiError as exc:
            self._send(exc.code, _failure(exc))
        except TransformError as exc:
            self._send(500, _failure(ApiError(500, "InternalError", f"Internal error occurred: {exc}")))
        except FatalError as exc:
            self._send(500, _failure(ApiError(500, "InternalError", str(exc))))
        except (YamlError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as exc:
            # A request of the wrong shape is the client's mistake, however deep it shows.
            self._send(400, _failure(ApiError(400, "BadRequest", f"the request cannot be understood: {exc!r}")))

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _BODY_LIMIT_BYTES:
            self.close_connection = True
            raise ApiError(413, "RequestEntityTooLarge", "limit is 3145728")
        return self.rfile.read(length)

    def _authorize(self) -> None:
        connection: Any = self.connection
        certificate = connection.getpeercert()
        if not certificate:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        subject = [pair for part in certificate["subject"] for pair in part]
        if ("organizationName", "system:masters") not in subject:
            user = dict(subject).get("commonName", "")
            raise ApiError(
                403, "Forbidden", f'forbidden: User "{user}" cannot {self.command.lower()} path "{self.path}"'
            )

    def _route(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path == "/version":
            self._send(200, version_info())
        elif path in _PROBES:
            self._send(200, probe_text(path) if "verbose" in query else "ok")
        elif path == "/api":
            self._send(200, api_versions(f"{self.server.server_address[0]!r}:{self.server.server_port}"))
        elif path == "/apis":
            self._send(200, api_groups())
        elif path.startswith(("/api/", "/apis/")):
            self._resource(path, query, body)
        else:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _resource(self, path: str, query: dict[str, str], body: bytes) -> None:
        parts = path.strip("/").split("/")
        group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
        if not rest:
            version = next((kind.version for kind in KINDS if kind.group == group), "")
            if not version:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
            self._send(200, api_group(group, version))
            return
        version, rest = rest[0], rest[1:]
        if not rest:
            found = resource_list(group, version)
            if found is None:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
            self._send(200, found)
            return
        self._object(_target(group, version, rest), query, body)

    def _object(self, target: Target, query: dict[str, str], body: bytes) -> None:
        resources = self.server.resources
        if self.command in ("GET", "HEAD"):
            if query.get("watch", "false") not in ("false", "0"):
                raise ApiError(405, "MethodNotAllowed", "the stand-in for k3s offers no watch: ask again instead")
            found = resources.read(target, query)
            self._send(200, "" if target.subresource == "log" else found)
        elif self.command == "DELETE":
            self._send(200, resources.delete(target, query))
        else:
            value = documents(body.decode())[0]
            if self.command == "POST":
                self._send(201, resources.create(target, value))
            elif self.command == "PUT":
                self._send(200, resources.replace(target, value))
            else:
                kind = self.headers.get_content_type()
                self._send(200, resources.patch(target, value, kind))

    def _send(self, code: int, content: dict[str, Any] | str) -> None:
        text = isinstance(content, str)
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _target(group: str, version: str, parts: list[str]) -> Target:
    """What a path behind the version means: [namespaces/NAMESPACE/]PLURAL[/NAME[/SUBRESOURCE]]."""
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] != "status":  # noqa: PLR2004 — the third part
        namespace, parts = parts[1], parts[2:]
    kind = by_path(group, version, parts[0])
    if kind is None:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    name, subresource = (*parts[1:3], "", "")[:2]
    if subresource not in ("", "status", "log"):
        raise ApiError(404, "NotFound", f"the stand-in for k3s has no {subresource} of {kind.plural}")
    return Target(kind, namespace, name, subresource)


def _failure(error: ApiError) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        "code": error.code,
    }
