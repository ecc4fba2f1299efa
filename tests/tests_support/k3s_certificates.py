"""Real certificates where k3s keeps its own: authorities for ten years, leaves for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

AUTHORITIES = ("server-ca", "client-ca", "request-header-ca")
LEAVES = ("client-admin", "client-kube-apiserver", "serving-kube-apiserver")


class Authority:
    """One that can sign."""

    def __init__(self, name: str, ends_at: datetime) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"k3s-{name}@1700000000")])
        self.certificate = certificate(self.name, self.name, self.key, self.key, ends_at)

    def sign(self, name: str, ends_at: datetime) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return certificate(subject, self.name, ec.generate_private_key(ec.SECP256R1()), self.key, ends_at)


def certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
    ends_at: datetime,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(ends_at, datetime(2026, 1, 1, tzinfo=UTC)) - timedelta(days=400))
        .not_valid_after(ends_at)
        .sign(signing, hashes.SHA256())
    )


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def place(data_dir: Path, *, leaves_end_at: datetime, authorities_end_at: datetime) -> None:
    """What k3s keeps of certificates, all leaves of one age."""
    tls = data_dir / "server/tls"
    tls.mkdir(parents=True, exist_ok=True)
    for name in AUTHORITIES:
        (tls / f"{name}.crt").write_bytes(pem(Authority(name, authorities_end_at).certificate))
    place_leaves(data_dir, leaves_end_at)


def place_leaves(data_dir: Path, ends_at: datetime) -> None:
    """Leaves as k3s signs them at a start, with the chain behind a server's."""
    tls = data_dir / "server/tls"
    authority = Authority("server-ca", ends_at + timedelta(days=3000))
    for name in LEAVES:
        chain = [authority.certificate] if name.startswith("serving") else []
        (tls / f"{name}.crt").write_bytes(pem(authority.sign(name, ends_at), *chain))
        (tls / f"{name}.key").write_text("key")
