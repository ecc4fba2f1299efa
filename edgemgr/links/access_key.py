"""The key of a site: made here, one for each, and put into authorized_keys on the node."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgemgr.errors import SiteLoginError
from edgemgr.links.connection import Connection
from edgemgr.model.secret import Secret

#: `restrict` switches everything off, now and in later versions of sshd (sshd(8)). Port forwarding is needed for the
#: way to the Kubernetes API, which is not open to the network; a pty for an operator's `kubectl exec -it`.
SITE_OPTIONS = "restrict,pty,port-forwarding"

#: Keeps owner, mode and links of an existing file, replaces an older line with the same key, and never leaves half a
#: file: written beside, synced, renamed.
_INSTALL = """\
set -eu
umask 077
line={line}
key={key}
mkdir -p "$HOME/.ssh"
file=$(readlink -f "$HOME/.ssh/authorized_keys")
touch "$file"
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
cp -p "$file" "$new"
grep -vF -- "$key" "$file" >"$new" || [ $? -eq 1 ]
printf '%s\\n' "$line" >>"$new"
if cmp -s "$new" "$file"; then exit 0; fi
sync "$new" 2>/dev/null || sync
mv -f "$new" "$file"
if command -v restorecon >/dev/null 2>&1; then restorecon -R "$HOME/.ssh" || true; fi
"""


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key pair in OpenSSH's own formats."""

    private: Secret
    public: str  #: `ssh-ed25519 BASE64 COMMENT`


def make_key_pair(comment: str) -> KeyPair:
    """Make a fresh Ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(private=Secret(private), public=f"{public} {comment}")


def jump_options(address: str, port: int) -> str:
    """Say what our key may do on a jump host: open a way to this one site, and nothing else."""
    host = f"[{address}]" if ":" in address else address
    return f'restrict,port-forwarding,permitopen="{host}:{port}"'


def install(connection: Connection, public_key: str, *, options: str = SITE_OPTIONS, timeout_s: float = 30.0) -> None:
    """Let `public_key` in for the user of this connection. Done twice, nothing changes.

    Raises:
        SiteUnreachableError: the connection was lost; whether the key is there is not known, doing it again is safe.
        SiteLoginError: the node refused to store it (E-LOGIN-INSTALL).
    """
    script = _INSTALL.format(line=shlex.quote(f"{options} {public_key}"), key=shlex.quote(public_key.split()[1]))
    # The script goes to a POSIX shell by stdin: the user's own shell may be another.
    result = connection.run("/bin/sh -s", stdin=script, timeout_s=timeout_s)
    if result.status != 0:
        raise SiteLoginError(
            f"{connection.name} did not take our key into authorized_keys: {result.stderr.strip()[:300]}",
            hint="Look at the home directory of that user: does it exist, may it be written, is the disk full?",
            code="E-LOGIN-INSTALL",
        )
