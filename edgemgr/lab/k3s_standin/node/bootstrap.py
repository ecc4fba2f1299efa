"""Bootstrap data: the certificate authorities and passwords, kept in the datastore and sealed with the token.

As in k3s, a datastore can only be used with the token it was made with; files that are missing on disk come from the
datastore; and files on disk that are newer than the datastore stop the start (k3s-io/k3s#4910). k3s seals
with PBKDF2 and AES-GCM; the standard library has no AES, so here a keystream and a MAC of SHA-256 do the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time

from .environment import write_private
from .journal import FatalError, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from .datastore import Datastore

#: The supervisor's passwords are bootstrap data as well (k3s-io/k3s, pkg/daemons/config/types.go).
PASSWORDS = "../cred/passwd"
_PREFIX = "/bootstrap/"
_ROUNDS = 4096
_TOLERANCE_S = 1.0


def key_name(password: str) -> str:
    """The name under which the data that this token sealed is kept."""
    return _PREFIX + hashlib.sha256(password.encode()).hexdigest()[:12]


def sealed(content: dict[str, str], password: str) -> dict[str, str]:
    """Encrypt and authenticate."""
    salt = os.urandom(16)
    data = json.dumps(content).encode()
    key, stream = _keys(password, salt, len(data))
    body = bytes(a ^ b for a, b in zip(data, stream, strict=True))
    return {"salt": salt.hex(), "body": body.hex(), "mac": hmac.digest(key, body, "sha256").hex()}


def opened(box: dict[str, str], password: str) -> dict[str, str]:
    """Decrypt.

    Raises:
        FatalError: it was sealed with another token.
    """
    body = bytes.fromhex(box["body"])
    key, stream = _keys(password, bytes.fromhex(box["salt"]), len(body))
    if not hmac.compare_digest(hmac.digest(key, body, "sha256"), bytes.fromhex(box["mac"])):
        raise FatalError("starting kubernetes: preparing server: failed to decrypt bootstrap data: wrong token")
    content: dict[str, str] = json.loads(bytes(a ^ b for a, b in zip(body, stream, strict=True)))
    return content


def _keys(password: str, salt: bytes, length: int) -> tuple[bytes, bytes]:
    master = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    return hashlib.sha256(b"mac" + master).digest(), hashlib.shake_256(b"stream" + master).digest(length)


def restore_authorities(store: Datastore, password: str, tls_dir: Path) -> None:
    """Bring the authorities from the datastore to the disk; a new datastore has none.

    Raises:
        FatalError: the token is not the datastore's, or a file on disk is newer than the datastore.
    """
    box = store.get(key_name(password))
    if box is None:
        if store.under(_PREFIX):
            raise FatalError(
                "starting kubernetes: preparing server: bootstrap data already found and encrypted with different token"
            )
        return
    for name, content in opened(box, password).items():
        path = tls_dir / name
        if path.exists() and path.read_text() != content and path.stat().st_mtime > float(box["at"]) + _TOLERANCE_S:
            raise FatalError(
                f"starting kubernetes: preparing server: {path} newer than datastore and could cause a cluster outage."
                " Remove the file(s) from disk and restart to be recreated from datastore."
            )
        if not path.exists() or path.read_text() != content:
            log("info", f"Migrating bootstrap data from the datastore: {path}")
            write_private(path, content)


def save_authorities(store: Datastore, password: str, tls_dir: Path, names: list[str]) -> None:
    """Keep the authorities in a datastore that has none yet."""
    if store.get(key_name(password)) is None:
        content = {name: (tls_dir / name).read_text() for name in names}
        store.put(key_name(password), {**sealed(content, password), "at": str(time.time())})


def save_passwords(store: Datastore, password: str, tls_dir: Path) -> None:
    """Keep the supervisor's passwords beside the authorities, where they are not kept yet."""
    box = store.get(key_name(password))
    if box is not None:
        content = opened(box, password)
        if PASSWORDS not in content:
            content[PASSWORDS] = (tls_dir / PASSWORDS).read_text()
            store.put(key_name(password), {**sealed(content, password), "at": str(time.time())})


def reseal(store: Datastore, old: str, new: str) -> None:
    """Seal the data with another token as well; under the old one's name they stay as they are.

    Raises:
        FatalError: the old token is not the datastore's.
    """
    box = store.get(key_name(old))
    if box is None:
        raise FatalError("token rotate: the server's token is not the one that the datastore was sealed with")
    store.put(key_name(new), {**sealed(opened(box, old), new), "at": box["at"]})


def drop(store: Datastore, password: str) -> None:
    """Remove what this token has sealed."""
    store.delete(key_name(password))


def save(store: Datastore, password: str, tls_dir: Path) -> None:
    """Take what lies on the disk now into the data that this token has sealed.

    Raises:
        FatalError: it has sealed none, or there are others' beside them.
    """
    if len(store.under(_PREFIX)) != 1:
        raise FatalError("found multiple bootstrap keys in storage")
    content = opened(store.get(key_name(password)) or {}, password)
    content = {name: (tls_dir / name).read_text() for name in content}
    store.put(key_name(password), {**sealed(content, password), "at": str(time.time())})
