"""Encryption of secrets at rest: which values of the datastore are sealed, and with which key.

As in k3s and Kubernetes (docs.k3s.io, cli/secrets-encrypt; k3s-io/k3s, pkg/daemons/control/deps; Kubernetes,
apiserver/storage/value/encrypt): with `secrets-encryption` the key lies in server/cred/encryption-config.json, sealed
values begin with k8s:enc:aescbc:v1:, and what was written plain before stays readable. Without the option nothing that
is sealed can be read, and with another key neither. The standard library has no AES, so here a keystream and a MAC of
SHA-256 do the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os

from .environment import write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_SEALED = b"k8s:enc:"
_KEY_NAME = "aescbckey"
_PREFIX = f"k8s:enc:aescbc:v1:{_KEY_NAME}:".encode()
_SECRETS = "/registry/secrets/"
_NONCE_BYTES = _MAC_BYTES = 32


class TransformError(Exception):
    """A value is sealed, and cannot be opened."""


class Plain:
    """No encryption: Kubernetes' identity transformer."""

    def sealed(self, name: str, data: bytes) -> bytes:  # noqa: ARG002 — as the other one
        """What is written."""
        return data

    def opened(self, name: str, data: bytes) -> bytes:
        """What was read.

        Raises:
            TransformError: it is sealed.
        """
        if data.startswith(_SEALED):
            raise _not_transformed(name, "identity transformer tried to read encrypted data")
        return data


class Encryption(Plain):
    """Secrets are sealed, everything else is not."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sealed(self, name: str, data: bytes) -> bytes:
        """What is written."""
        if not name.startswith(_SECRETS):
            return data
        nonce = os.urandom(_NONCE_BYTES)
        body = self._mixed(nonce, data)
        return _PREFIX + nonce + hmac.digest(self._key, nonce + body, "sha256") + body

    def opened(self, name: str, data: bytes) -> bytes:
        """What was read.

        Raises:
            TransformError: another key sealed it.
        """
        if not data.startswith(_PREFIX):
            return super().opened(name, data)
        rest = data[len(_PREFIX) :]
        nonce, mac, body = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:][:_MAC_BYTES], rest[_NONCE_BYTES + _MAC_BYTES :]
        if not hmac.compare_digest(mac, hmac.digest(self._key, nonce + body, "sha256")):
            raise _not_transformed(name, "no matching key was found for the provided AES transformer")
        return self._mixed(nonce, body)

    def _mixed(self, nonce: bytes, data: bytes) -> bytes:
        stream = hashlib.shake_256(self._key + nonce).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def encryption_of(path: Path) -> Encryption:
    """The encryption with the key of that file, which is made where it is not there."""
    if not path.exists():
        secret = base64.b64encode(os.urandom(32)).decode()
        providers = [{"aescbc": {"keys": [{"name": _KEY_NAME, "secret": secret}]}}, {"identity": {}}]
        content = {
            "kind": "EncryptionConfiguration",
            "apiVersion": "apiserver.config.k8s.io/v1",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        }
        write_private(path, json.dumps(content))
    found = json.loads(path.read_text())
    return Encryption(base64.b64decode(found["resources"][0]["providers"][0]["aescbc"]["keys"][0]["secret"]))


def _not_transformed(name: str, why: str) -> TransformError:
    return TransformError(f'unable to transform key "{name}": {why}')
