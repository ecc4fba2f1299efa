"""The server's token: `K10` and the authority's hash, then the password (docs.k3s.io, token)."""

from __future__ import annotations

import hashlib
import os

from .environment import write_private
from .journal import FatalError, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def password_of(token: str) -> str:
    """The secret part of a token in its long or its short form."""
    return token.strip().rpartition(":")[2]


def server_password(server_dir: Path, configured: str) -> str:
    """The configured token's password, or that of the file, or a new one.

    Raises:
        FatalError: a long token was configured before there is an authority that it could name.
    """
    path = server_dir / "token"
    if configured.startswith("K10") and not (server_dir / "tls/server-ca.crt").exists() and not path.exists():
        raise FatalError(
            "starting kubernetes: preparing server: token CA hash does not match the Cluster CA certificate hash"
        )
    if configured:
        return password_of(configured)
    return password_of(path.read_text()) if path.exists() else os.urandom(16).hex()


def write_token(server_dir: Path, password: str) -> None:
    """Write server/token, the link node-token, and the passwords of the supervisor's own users."""
    write_token_file(server_dir, password)
    link = server_dir / "node-token"
    if not link.is_symlink():
        link.unlink(missing_ok=True)
        link.symlink_to(server_dir / "token")
    write_passwords(server_dir, password)
    log("info", f"Node token is available at {server_dir / 'token'}")


def write_token_file(server_dir: Path, password: str) -> None:
    """Write server/token in its long form."""
    digest = hashlib.sha256((server_dir / "tls/server-ca.crt").read_bytes()).hexdigest()
    write_private(server_dir / "token", f"K10{digest}::server:{password}\n")


def write_passwords(server_dir: Path, password: str) -> None:
    """Write the passwords of the supervisor's own users; agents have the server's unless they are given their own."""
    write_private(server_dir / "cred/passwd", f"{password},node,node,k3s:agent\n{password},server,server,k3s:server\n")


def passwords(server_dir: Path) -> dict[str, str]:
    """User → password, as they were written."""
    path = server_dir / "cred/passwd"
    rows = [line.split(",") for line in (path.read_text().splitlines() if path.exists() else [])]
    return {row[1]: row[0] for row in rows if len(row) > 1}
