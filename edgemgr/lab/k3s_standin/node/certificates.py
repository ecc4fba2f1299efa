"""Certificates: authorities for ten years, leaves for a year, made with the openssl program.

Names, subjects and lifetimes as in k3s (docs.k3s.io, certificate). A leaf that expires within 120 days is renewed at
start with the key it had; versions before May 2025 did so within 90 days.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import time

from .environment import variable, write_private
from .journal import FatalError, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

AUTHORITIES = ("server-ca", "client-ca", "request-header-ca")
AUTHORITY_FILES = [f"{name}.{end}" for name in AUTHORITIES for end in ("crt", "key")]
AUTHORITY_DAYS = 3650
RENEW_DAYS = 120

_CONFIG = """[req]
distinguished_name = dn
[dn]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
authorityKeyIdentifier = keyid
extendedKeyUsage = {usage}
{names}
"""


class Leaf:
    """One certificate that an authority signs."""

    def __init__(self, name: str, service: str, authority: str, subject: str) -> None:
        self.name = name
        self.service = service  #: as `k3s certificate` groups them
        self.authority = authority
        self.subject = subject

    @property
    def is_server(self) -> bool:
        """Whether it is shown by a server, not by a client."""
        return self.authority == "server-ca"


LEAVES = (
    Leaf("client-admin", "admin", "client-ca", "/O=system:masters/CN=system:admin"),
    Leaf("client-auth-proxy", "auth-proxy", "request-header-ca", "/CN=system:auth-proxy"),
    Leaf("client-controller", "controller-manager", "client-ca", "/CN=system:kube-controller-manager"),
    Leaf("client-scheduler", "scheduler", "client-ca", "/CN=system:kube-scheduler"),
    Leaf("client-supervisor", "supervisor", "client-ca", "/O=system:masters/CN=system:k3s-supervisor"),
    Leaf("client-k3s-controller", "k3s-controller", "client-ca", "/CN=system:k3s-controller"),
    Leaf("client-kube-apiserver", "api-server", "client-ca", "/O=system:masters/CN=system:apiserver"),
    Leaf("client-kube-proxy", "kube-proxy", "client-ca", "/CN=system:kube-proxy"),
    Leaf("serving-kube-apiserver", "api-server", "server-ca", "/CN=kube-apiserver"),
)


def ensure_certificates(tls_dir: Path, names: list[str]) -> None:
    """Make what is missing and renew what expires soon.

    Args:
        tls_dir: `server/tls`.
        names: DNS names and addresses that the server's certificate is for; others than before renew it.

    Raises:
        FatalError: openssl failed.
    """
    tls_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in AUTHORITIES:
        if not (tls_dir / f"{name}.crt").exists():
            _authority(tls_dir, name)
    record = tls_dir / "dynamic-cert.json"
    renamed = not record.exists() or json.loads(record.read_text()).get("names") != names
    for leaf in LEAVES:
        path = tls_dir / f"{leaf.name}.crt"
        if not path.exists():
            _sign(tls_dir, leaf, names)
        elif expires_at(path) - time.time() < RENEW_DAYS * 86400:
            log("warning", f"Certificate {path} will expire within {RENEW_DAYS} days, renewing")
            _sign(tls_dir, leaf, names)
        elif leaf.is_server and renamed:
            _sign(tls_dir, leaf, names)
    write_private(record, json.dumps({"names": names}))


def expires_at(path: Path) -> float:
    """When a certificate ends, in seconds since 1970."""
    text = _openssl(["x509", "-noout", "-enddate", "-in", str(path)])
    return float(ssl.cert_time_to_seconds(text.strip().removeprefix("notAfter=")))


def _authority(tls_dir: Path, name: str) -> None:
    arguments = [
        "-subj",
        f"/CN=k3s-{name}@{int(time.time())}",
        "-days",
        str(AUTHORITY_DAYS),
        "-extensions",
        "authority",
    ]
    _make(tls_dir, name, arguments, _CONFIG.format(usage="clientAuth", names=""))


def _sign(tls_dir: Path, leaf: Leaf, names: list[str]) -> None:
    log("info", f"certificate {leaf.subject.lstrip('/').replace('/', ',')} signed by CN=k3s-{leaf.authority}")
    days = variable("CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS") or "365"  # k3s' own variable (docs.k3s.io, advanced)
    authority = tls_dir / leaf.authority
    arguments = ["-subj", leaf.subject, "-days", days, "-extensions", "leaf"]
    arguments += ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    kinds = [f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names]
    config = _CONFIG.format(
        usage="serverAuth" if leaf.is_server else "clientAuth",
        names=f"subjectAltName = {', '.join(kinds)}" if leaf.is_server else "",
    )
    _make(tls_dir, leaf.name, arguments, config)
    if leaf.is_server:  # the whole chain, so that a client that knows only the authority is content
        certificate = tls_dir / f"{leaf.name}.crt"
        write_private(certificate, certificate.read_text() + (tls_dir / f"{leaf.authority}.crt").read_text())


def _make(tls_dir: Path, name: str, arguments: list[str], config: str) -> None:
    key, beside = tls_dir / f"{name}.key", tls_dir / f".{name}.crt.tmp"
    if not key.exists():
        made = tls_dir / f".{name}.key.tmp"
        _openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", str(made)])
        made.chmod(0o600)
        made.replace(key)
    _openssl(
        ["req", "-x509", "-sha256", "-config", "/dev/stdin", "-key", str(key), "-out", str(beside), *arguments], config
    )
    beside.chmod(0o644)
    beside.replace(tls_dir / f"{name}.crt")


def _openssl(arguments: list[str], config: str = "") -> str:
    try:
        result = subprocess.run(
            ["openssl", *arguments], input=config, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FatalError(f"starting kubernetes: preparing server: openssl: {exc}") from exc
    if result.returncode:
        raise FatalError(f"starting kubernetes: preparing server: openssl {arguments[0]}: {result.stderr.strip()}")
    return result.stdout


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()
