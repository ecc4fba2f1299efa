"""The kubeconfig of a site: read when it is needed, believed as little as possible, never stored.

A kubeconfig can make its reader run programs and open files (`exec`, `auth-provider`, `tokenFile`, paths). Only the
five inline values that k3s writes are taken from it; anything else is refused.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from edgemgr.errors import SiteError
from edgemgr.links.connection import Connection
from edgemgr.model.secret import Secret

K3S_KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
_LIMIT_BYTES = 256 * 1024
_READ = f"""\
LC_ALL=C; export LC_ALL
if [ "$(id -u)" -eq 0 ]; then exec cat {K3S_KUBECONFIG}; else exec sudo -n cat {K3S_KUBECONFIG}; fi
"""
_CLUSTER_KEYS = {"server", "certificate-authority-data"}
_USER_KEYS = {"client-certificate-data", "client-key-data"}


@dataclass(frozen=True)
class Kubeconfig:
    """Where the API listens, as the site sees it, and the administrator's certificate."""

    host: str
    port: int
    ca_pem: str
    certificate_pem: str
    key_pem: Secret

    def render(self, name: str, port: int) -> Secret:
        """Write a kubeconfig for `https://127.0.0.1:PORT` with one context called `name`."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": f"https://127.0.0.1:{port}",
                        "certificate-authority-data": _encode(self.ca_pem),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": _encode(self.certificate_pem),
                        "client-key-data": _encode(self.key_pem.reveal()),
                    },
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        return Secret(yaml.safe_dump(document, sort_keys=False))


def read_kubeconfig(connection: Connection, *, timeout_s: float = 15.0) -> Kubeconfig | None:
    """Read what k3s wrote on the node; None where there is no k3s.

    Raises:
        SiteUnreachableError: the connection was lost.
        SiteError: the user may not read it (E-SITE-SUDO), or it is not as k3s writes it (E-KUBECONFIG-REFUSED).
    """
    result = connection.run("/bin/sh -s", stdin=_READ, timeout_s=timeout_s, limit_bytes=_LIMIT_BYTES)
    if result.status == 0:
        return parse(result.stdout, connection.name)
    if "No such file or directory" in result.stderr:
        return None
    raise SiteError(
        f"{K3S_KUBECONFIG} cannot be read on {connection.name}: {result.stderr.strip()[:200]}",
        hint="The user needs sudo without a password, or must be root.",
        code="E-SITE-SUDO",
    )


def parse(text: str, name: str) -> Kubeconfig:
    """Take the server, the CA and the client certificate out of a kubeconfig.

    Raises:
        SiteError: it holds anything else, or not these (E-KUBECONFIG-REFUSED).
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise _refused(name, "it is no YAML") from exc
    cluster = _only(document, "clusters", "cluster", _CLUSTER_KEYS, name)
    user = _only(document, "users", "user", _USER_KEYS, name)
    host, port = _server(cluster["server"], name)
    return Kubeconfig(
        host=host,
        port=port,
        ca_pem=_decode(cluster["certificate-authority-data"], name),
        certificate_pem=_decode(user["client-certificate-data"], name),
        key_pem=Secret(_decode(user["client-key-data"], name)),
    )


def _only(document: Any, plural: str, singular: str, wanted: set[str], name: str) -> dict[str, str]:
    entries = document.get(plural) if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise _refused(name, f"it must have exactly one entry in {plural}")
    entry = entries[0].get(singular)
    if not isinstance(entry, dict) or set(entry) != wanted or not all(isinstance(v, str) for v in entry.values()):
        raise _refused(name, f"{singular} must have {' and '.join(sorted(wanted))} and nothing else")
    return entry


def _server(url: str, name: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else str(ipaddress.ip_address(parts.hostname or ""))
        port = parts.port or 443
    except ValueError as exc:
        raise _refused(name, "server must be https:// with an IP address and a port") from exc
    if parts.scheme != "https" or parts.path not in ("", "/") or parts.query or parts.username:
        raise _refused(name, "server must be https:// with an IP address and a port")
    return host, port


def _decode(value: str, name: str) -> str:
    try:
        pem = base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, ValueError) as exc:
        raise _refused(name, "a certificate or key is not base64") from exc
    if not pem.startswith("-----BEGIN "):
        raise _refused(name, "a certificate or key is not PEM")
    return pem


def _encode(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def _refused(name: str, why: str) -> SiteError:
    return SiteError(
        f"the kubeconfig of {name} is not one that k3s writes: {why}",
        hint=f"Look at {K3S_KUBECONFIG} on the node; k3s writes a fresh one when it starts without it.",
        code="E-KUBECONFIG-REFUSED",
    )
