"""Part of the program on a stick (links/stick_stage.py): whose order this is, and who the node is.

Both directions use OpenSSH's signatures over files (PROTOCOL.sshsig), made and checked by the node's own ssh-keygen,
8.1 or newer: it is there wherever sshd is. They cannot be mistaken for what a host key signs at a login. Python 3.8
or newer, standard library only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
import tempfile
from pathlib import Path

from edgemgr.links.node_fence import RefusedError

ORDER_NAMESPACE = "edgemgr-workorder"
RECEIPT_NAMESPACE = "edgemgr-receipt"

_ARMOR = (b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n")
_MAGIC = b"SSHSIG"
_PATIENCE_S = 60
#: 100 bits, in letters and digits that cannot be taken for one another (RFC 4648, part 6, has no 0, 1, 8 and 9).
_CODE_LETTERS, _GROUP = 20, 4
_MISREAD = str.maketrans("018", "OIB", " -")


def split_signed(data: bytes) -> tuple[bytes, bytes]:
    """A signed file is one line, and below it the signature over that line.

    Raises:
        ValueError: it has not this form.
    """
    line, newline, signature = data.partition(b"\n")
    if not newline or not signature.startswith(_ARMOR[0]) or not signature.endswith(_ARMOR[1]):
        raise ValueError("it is not one line with a signature below")
    return line + newline, signature


def unpack_armor(signature: bytes) -> bytes:
    """The bytes of a signature.

    Raises:
        ValueError: it is none.
    """
    body = signature[len(_ARMOR[0]) : -len(_ARMOR[1])]
    try:
        blob = base64.b64decode(body.replace(b"\n", b""), validate=True)
    except binascii.Error as exc:
        raise ValueError(f"the signature is not whole: {exc}") from exc
    if not blob.startswith(_MAGIC):
        raise ValueError("the signature is none of OpenSSH")
    return blob


def armor(blob: bytes) -> bytes:
    """A signature as text."""
    text = base64.b64encode(blob)
    lines = b"".join(text[at : at + 70] + b"\n" for at in range(0, len(text), 70))
    return _ARMOR[0] + lines + _ARMOR[1]


def read_string(blob: bytes, at: int) -> tuple[bytes, int]:
    """A string as SSH writes it (RFC 4251, part 5), and where it ends.

    Raises:
        ValueError: it ends early.
    """
    start = at + 4
    end = start + int.from_bytes(blob[at:start], "big")
    if start > len(blob) or end > len(blob):
        raise ValueError("the signature ends early")
    return blob[start:end], end


def signer_of(signature: bytes) -> bytes:
    """The public key that a signature says it was made with.

    Raises:
        ValueError: it is no signature.
    """
    return read_string(unpack_armor(signature), len(_MAGIC) + 4)[0]


def key_type(blob: bytes) -> str:
    """What kind of key this is, by its own words.

    Raises:
        ValueError: it says nothing.
    """
    return read_string(blob, 0)[0].decode("ascii")


def line_of(blob: bytes) -> str:
    """A public key as the line that files of keys hold.

    Raises:
        ValueError: it is no key.
    """
    return f"{key_type(blob)} {base64.b64encode(blob).decode()}"


def fingerprint_of(blob: bytes) -> str:
    """`SHA256:…` of a public key, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def code_of(blob: bytes) -> str:
    """The short name of a public key that a person can read out and type: `ABCD-EFGH-…`, 100 bits of its SHA-256."""
    letters = base64.b32encode(hashlib.sha256(blob).digest()).decode()[:_CODE_LETTERS]
    return "-".join(letters[at : at + _GROUP] for at in range(0, _CODE_LETTERS, _GROUP))


def is_code(typed: str, blob: bytes) -> bool:
    """Whether somebody typed the code of this key; small letters, blanks and letters taken for digits do no harm."""
    return typed.strip().upper().translate(_MISREAD) == code_of(blob).replace("-", "")


def verify(payload: bytes, signature: bytes, keys: list[str]) -> None:
    """See that an order is signed by one of these public key lines.

    Raises:
        RefusedError: E-STICK-SIGNATURE, E-STICK-SSH.
    """
    with tempfile.TemporaryDirectory(prefix="edgemgr-") as name:
        allowed, file = Path(name) / "allowed", Path(name) / "signature"
        allowed.write_text("".join(f"appliance {key}\n" for key in keys if key.strip()), "ascii", "replace")
        file.write_bytes(signature)
        arguments = ["verify", "-f", str(allowed), "-I", "appliance", "-n", ORDER_NAMESPACE, "-s", str(file)]
        done = _ssh_keygen(["-Y", *arguments], payload)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
        raise RefusedError(
            "E-STICK-SIGNATURE",
            f"the order on this stick is damaged, or not of the appliance that this node knows: {said[:200]}",
            "Do not use this stick; ask whoever sent it.",
        )


def host_keys(directory: Path) -> dict[str, Path]:
    """Fingerprint → file of each host key of this node, told from the private half: a public file proves nothing.

    Raises:
        RefusedError: E-STICK-SSH.
    """
    found = {}
    for path in sorted(directory.glob("ssh_host_*_key")):
        done = _ssh_keygen(["-y", "-P", "", "-f", str(path)], b"")
        words = done.stdout.split()
        if done.returncode == 0 and len(words) > 1:
            found[fingerprint_of(base64.b64decode(words[1]))] = path
    return found


def sign(payload: bytes, key: Path) -> bytes:
    """Sign a receipt with a host key.

    Raises:
        RefusedError: E-STICK-SSH.
    """
    done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", RECEIPT_NAMESPACE], payload)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[:200]
        raise RefusedError(
            "E-STICK-SSH",
            f"the receipt could not be signed with {key}: {said}",
            "The files are in place; the node needs OpenSSH 8.1 or newer for the receipt.",
        )
    return done.stdout


def _ssh_keygen(arguments: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=stdin, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise RefusedError(
            "E-STICK-SSH",
            f"ssh-keygen does not work on this node: {exc}",
            "It comes with OpenSSH (8.1 or newer); see that it is in the PATH.",
        ) from None
