"""Host keys: collecting them without sending anything secret, naming them by fingerprint, comparing them with a pin."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from edgemgr.errors import SiteError, SiteIdentityError
from edgemgr.links.connection import Connection

#: Key types in order of preference; an RSA key signs with SHA-2 or not at all (RFC 8332).
FAMILIES: tuple[tuple[str, ...], ...] = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
KEY_TYPES = tuple(name for family in FAMILIES for name in family)
_LINE_TYPES = frozenset({*KEY_TYPES, "ssh-rsa"}) - {"rsa-sha2-512", "rsa-sha2-256"}
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}\Z")


def key_line(text: str) -> str:
    """Bring a public key line into its plain form, `TYPE BASE64` without comment.

    Raises:
        ValueError: it is no public key of a type that can be pinned; the text says why.
    """
    words = text.split()
    if len(words) < 2 or words[0] not in _LINE_TYPES:  # noqa: PLR2004
        raise ValueError("not a public host key of type ssh-ed25519, ecdsa-sha2-nistp… or ssh-rsa")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as exc:
        raise ValueError(f"the {words[0]} key is not whole: {exc}") from exc
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != words[0].encode() or len(blob) <= 4 + length:
        raise ValueError(f"the key says {words[0]} in front, but holds something else")
    return f"{words[0]} {words[1]}"


def is_fingerprint(text: str) -> bool:
    """Whether this is a fingerprint as OpenSSH prints it: `SHA256:` and 43 characters."""
    return _FINGERPRINT.match(text) is not None


def fingerprint(line: str) -> str:
    """`SHA256:…` of a public key line, as `ssh-keygen -l` prints it.

    Raises:
        ValueError: it is no public key line.
    """
    blob = base64.b64decode(key_line(line).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def matches(pin: str, line: str) -> bool:
    """Whether `pin` (a fingerprint or a full key line) stands for the key in `line`."""
    return fingerprint(line) == (pin if is_fingerprint(pin) else fingerprint(pin))


def types_for(pin: str) -> tuple[str, ...]:
    """Say what to ask a host for, so that it shows the pinned key if it still has it and any other if not."""
    name = pin.split(maxsplit=1)[0]
    first = tuple(kind for kind in KEY_TYPES if kind == name or (name == "ssh-rsa" and kind.startswith("rsa-")))
    return first + tuple(kind for kind in KEY_TYPES if kind not in first)


def scan(
    address: str,
    port: int,
    *,
    jump: Connection | None = None,
    timeout_s: float = 10.0,
    key_types: tuple[str, ...] = KEY_TYPES,
) -> str:
    """Get a host's public key line, ed25519 if it has one. A key exchange only: no user, no secret is named.

    Raises:
        SiteUnreachableError: no SSH server answered.
        SiteError: it has no key or algorithm that is accepted here (E-SITE-ALGORITHMS).
    """
    from edgemgr.links.handshake import shake_hands, shown_key

    transport = shake_hands(address, port, jump=jump, key_types=key_types, timeout_s=timeout_s)
    try:
        return shown_key(transport)
    finally:
        transport.close()


def find(pin: str, address: str, port: int, *, jump: Connection | None = None, timeout_s: float = 10.0) -> str:
    """Find the key line of this host that `pin` stands for; if it has none, the one that it prefers to show.

    A fingerprint does not tell the type of its key, so every type that the host has is looked at, one connection each.

    Raises:
        SiteUnreachableError: no SSH server answered.
        SiteIdentityError: it showed no key at all that is accepted here.
    """
    if not is_fingerprint(pin):
        return scan(address, port, jump=jump, timeout_s=timeout_s, key_types=types_for(pin))
    shown: list[str] = []
    for family in FAMILIES:
        try:
            line = scan(address, port, jump=jump, timeout_s=timeout_s, key_types=family)
        except SiteError as exc:
            if exc.code != "E-SITE-ALGORITHMS":
                raise
            continue
        if matches(pin, line):
            return line
        shown.append(line)
    if not shown:
        raise SiteIdentityError(
            f"{address}:{port} has no host key of a type that is accepted here",
            hint="Give the site an ed25519 host key: `ssh-keygen -A` on it, then restart its sshd.",
            code="E-SITE-ALGORITHMS",
        )
    return shown[0]
