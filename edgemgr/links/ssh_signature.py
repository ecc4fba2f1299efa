"""OpenSSH's signatures over files (PROTOCOL.sshsig), made and checked here without its programs.

What is signed is not the file but a short block that begins with `SSHSIG` and names the purpose: no login and no
other protocol of SSH signs such a block, so that a host key can be used for receipts too.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from edgemgr.links.stick_keys import armor, fingerprint_of, key_type, line_of, read_string, unpack_armor
from edgemgr.model.secret import Secret

_MAGIC, _VERSION = b"SSHSIG", 1
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_RSA = {b"rsa-sha2-512": hashes.SHA512(), b"rsa-sha2-256": hashes.SHA256()}
_MIN_RSA_BITS = 2048


class WrongSignerError(Exception):
    """A good signature, or what looks like one, by another key."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.fingerprint = fingerprint


def public_blob(line: str) -> bytes:
    """The key of an Ed25519 public key line, as SSH writes it."""
    key = load_ssh_public_key(line.encode("ascii"))
    return _string(b"ssh-ed25519") + _string(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(payload: bytes, private: Secret, namespace: str) -> bytes:
    """Sign with an Ed25519 private key in OpenSSH's form; the signature as text."""
    key = load_ssh_private_key(private.reveal().encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise RuntimeError("the key of the appliance is no Ed25519 key")  # noqa: TRY004 - it was made here
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(_signed_block(payload, namespace.encode(), b"sha512"))
    fields = (
        _string(b"ssh-ed25519") + _string(raw),
        namespace.encode(),
        b"",
        b"sha512",
        _string(b"ssh-ed25519") + _string(signature),
    )
    return armor(_MAGIC + _VERSION.to_bytes(4, "big") + b"".join(_string(field) for field in fields))


def verify(payload: bytes, signature: bytes, *, pin: str, namespace: str) -> None:
    """See that `payload` was signed, for this purpose, by the key of a fingerprint `SHA256:…`.

    Raises:
        WrongSignerError: it was signed by another key.
        ValueError: the signature is none, is for another purpose, or does not fit the payload; the text says why.
    """
    blob = unpack_armor(signature)
    if int.from_bytes(blob[6:10], "big") != _VERSION:
        raise ValueError("the signature is of another version")
    fields, at = [], len(_MAGIC) + 4
    for _ in range(5):
        field, at = read_string(blob, at)
        fields.append(field)
    key, purpose, reserved, digest, signed = fields
    if at != len(blob):
        raise ValueError("something follows the signature")
    if fingerprint_of(key) != pin:
        raise WrongSignerError(fingerprint_of(key))
    if purpose != namespace.encode() or reserved:
        raise ValueError("the signature was made for another purpose")
    if digest not in _HASHES:
        raise ValueError("the signature is over a hash that is not accepted")
    algorithm, at = read_string(signed, 0)
    value, at = read_string(signed, at)
    if at != len(signed):
        raise ValueError("something follows the signature")
    try:
        _check(key, algorithm, value, _signed_block(payload, purpose, digest))
    except InvalidSignature:
        raise ValueError("the signature does not fit the text above it: one of them was changed") from None
    except UnsupportedAlgorithm as exc:
        raise ValueError(f"the key is of a kind that is not accepted: {exc}") from exc


def _check(blob: bytes, algorithm: bytes, value: bytes, block: bytes) -> None:
    key = load_ssh_public_key(line_of(blob).encode())
    if isinstance(key, Ed25519PublicKey) and algorithm == b"ssh-ed25519":
        key.verify(value, block)
    elif isinstance(key, EllipticCurvePublicKey) and algorithm.decode("ascii") == key_type(blob):
        r, at = read_string(value, 0)
        s, end = read_string(value, at)
        if end != len(value):
            raise ValueError("something follows the signature")
        der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        key.verify(der, block, ec.ECDSA(_curve_hash(key)))
    elif isinstance(key, RSAPublicKey) and algorithm in _RSA and key.key_size >= _MIN_RSA_BITS:
        key.verify(value, block, padding.PKCS1v15(), _RSA[algorithm])
    else:
        raise ValueError("the key and the signature are of different kinds, or of one that is not accepted")


def _curve_hash(key: EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """The hash that belongs to a curve (RFC 5656, part 6.2.1)."""
    if key.key_size <= 256:  # noqa: PLR2004 - the bits of the curve
        return hashes.SHA256()
    return hashes.SHA384() if key.key_size <= 384 else hashes.SHA512()  # noqa: PLR2004 - the same


def _signed_block(payload: bytes, namespace: bytes, digest: bytes) -> bytes:
    fields = (namespace, b"", digest, _HASHES[digest](payload).digest())
    return _MAGIC + b"".join(_string(field) for field in fields)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
