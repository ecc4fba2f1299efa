"""The rules of keys: host keys that are pinned, and an operator's private key for the first login."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from edgemgr.inventory.field_fault import FieldFault

KEY_FILE_LIMIT_BYTES = 64 * 1024
SMALLEST_RSA_BITS = 2048
#: What OpenSSH servers have today; DSA is gone since OpenSSH 10, certificates are not pins.
HOST_KEY_TYPES = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
)  # fmt: skip

_FINGERPRINT = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?", re.ASCII)
_HINT = "Write the line of ssh-keyscan from the key type on, or the SHA256:… that ssh-keygen -lf prints."


class HostKey(NamedTuple):
    """What a site's host key must be."""

    line: str | None  #: key type and key, without comment; None when only the fingerprint is known
    fingerprint: str  #: `SHA256:…`


def host_key(text: str) -> HostKey:
    """A full public key line, or its SHA-256 fingerprint."""
    if text.startswith("SHA256:"):
        match = _FINGERPRINT.fullmatch(text)
        if match is None or base64.b64encode(base64.b64decode(match[1] + "="))[:43].decode() != match[1]:
            raise FieldFault("E-CSV-HOST-KEY", "a SHA256 fingerprint has 43 characters of base64", _HINT)
        return HostKey(None, f"SHA256:{match[1]}")
    return _key_line(text, "E-CSV-HOST-KEY")


def jump_host_key(text: str) -> str:
    """The full public key line of a jump host."""
    if text.startswith("SHA256:"):
        raise FieldFault(
            "E-CSV-JUMP-HOST-KEY", "a fingerprint is not enough for a jump host", "Write its full public key line."
        )
    return _key_line(text, "E-CSV-JUMP-HOST-KEY").line or ""


def _key_line(text: str, code: str) -> HostKey:
    kind, _, rest = text.partition(" ")
    body = rest.split(" ", 1)[0]
    if kind.startswith("MD5:") or re.fullmatch(r"(?:[0-9a-f]{2}:){15}[0-9a-f]{2}", kind):
        raise FieldFault(code, "MD5 fingerprints can be forged", _HINT)
    if kind not in HOST_KEY_TYPES:
        raise FieldFault(code, f"it does not begin with one of {', '.join(HOST_KEY_TYPES)}, or SHA256:", _HINT)
    try:
        key = load_ssh_public_key(f"{kind} {body}".encode())
        blob = base64.b64decode(body, validate=True)
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        raise FieldFault(code, "the key is cut off or damaged", _HINT) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        raise FieldFault(code, f"the RSA key has only {key.key_size} bits", "Use the host's Ed25519 key.")
    fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return HostKey(f"{kind} {body}", f"SHA256:{fingerprint}")


def private_key(text: str, *, read: Callable[[Path], bytes]) -> str:
    """The path of a private key → the key itself, checked.

    Args:
        text: an absolute path on this machine.
        read: reads the beginning of a file.
    """
    path = Path(text)
    if not path.is_absolute() or "\x00" in text:
        raise FieldFault("E-CSV-KEY-FILE", "it is no absolute path", "Write for example /root/.ssh/id_ed25519.")
    try:
        content = read(path)
    except OSError as exc:
        raise FieldFault(
            "E-CSV-KEY-FILE", f"the file cannot be read: {exc.strerror}", "Write the path of a key on this machine."
        ) from None
    try:
        load_ssh_private_key(content, password=None)
        return content.decode("ascii")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FieldFault(
            "E-CSV-KEY-FILE",
            "the file is no private key of OpenSSH without a passphrase",
            "Make one with ssh-keygen -t ed25519, or take the passphrase off a copy.",
        ) from None


def read_key_file(path: Path) -> bytes:
    """Read as much as a key may have."""
    with path.open("rb") as file:
        return file.read(KEY_FILE_LIMIT_BYTES)
