"""`k3s token rotate`, both halves: the command, and what the running server does when the command asks it to.

After k3s-io/k3s: pkg/cli/token/token.go, pkg/server/handlers/token.go and pkg/cluster/storage.go. The command takes
the present token from `--token`, K3S_TOKEN or the server's file, and asks by PUT /v1-k3s/token as the user `server`.
Without `--new-token` the server draws one. It writes its passwords, then its token's file, seals the bootstrap data
under the new token's name, removes the old name, and at last saves what lies on the disk. That is no single step: a
server that ends in between (the fault `token_cut` makes it) leaves it half done, as the real one would.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

from .bootstrap import drop, reseal, save
from .built import VERSION
from .environment import DATA_DIR, below_root, variable
from .faults import read_faults
from .journal import FatalError, log
from .resources import ApiError
from .server_token import passwords, write_passwords, write_token_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .datastore import Datastore

PATH = "/v1-k3s/token"
_SERVER = "https://127.0.0.1:6443"
_TIMEOUT_S = 30
_HASH_BEGINS, _HASH_ENDS = len("K10"), len("K10") + 64
_FIRST_PATCH = {25: 15, 26: 10, 27: 7, 28: 3}  # the releases of October 2023
#: What the command is given, by every name that it goes by.
_OPTIONS = {
    "token": "token",
    "t": "token",
    "new-token": "new-token",
    "server": "server",
    "s": "server",
    "data-dir": "data-dir",
    "d": "data-dir",
    "kubeconfig": "kubeconfig",
}
#: After which write the fault ends the server.
_PASSWORDS, _FILE, _SEALED, _DROPPED = 1, 2, 3, 4


def token(arguments: Sequence[str]) -> int:
    """`token rotate [--token T] [--new-token T] [--server URL]`; the exit status."""
    if arguments[:1] != ["rotate"] or not _is_known():
        named = arguments[0] if arguments else ""
        sys.stderr.write(f"No help topic for '{named}' (the stand-in for k3s offers rotate, as releases since 2023)\n")
        return 3
    sys.stdout.write(
        "\033[33mWARNING\033[0m: Recommended to keep a record of the old token."
        " If restoring from a snapshot, you must use the token associated with that snapshot.\n"
    )
    try:
        given = _options(arguments[1:])
        place = below_root(given.get("data-dir", DATA_DIR)) / "server/token"
        present = given.get("token") or variable("K3S_TOKEN") or place.read_text()
        server = given.get("server") or variable("K3S_URL") or _SERVER
        _ask(server, present.strip(), given.get("new-token", ""))
    except (FatalError, OSError, http.client.HTTPException) as exc:
        log("fatal", str(exc) or type(exc).__name__)
        return 1
    sys.stdout.write("Token rotated, restart k3s nodes with new token\n")
    return 0


def answer(server_dir: Path, store: Datastore, method: str, authorization: str, body: bytes) -> None:
    """What the server does when it is asked.

    Raises:
        ApiError: somebody else asks, or in another way.
        FatalError: the datastore was sealed with another token.
    """
    if method != "PUT":
        raise ApiError(405, "MethodNotAllowed", "method not allowed")
    old = passwords(server_dir).get("server", "")
    if not old or not hmac.compare_digest(authorization.encode(), _basic(old).encode()):
        raise ApiError(401, "Unauthorized", "Unauthorized")
    new = str(json.loads(body or b"{}").get("newToken") or os.urandom(16).hex())
    cut = int(read_faults()["token_cut"])
    write_passwords(server_dir, new)
    _end_at(cut, _PASSWORDS)
    write_token_file(server_dir, new)
    _end_at(cut, _FILE)
    reseal(store, old, new)
    _end_at(cut, _SEALED)
    drop(store, old)
    _end_at(cut, _DROPPED)
    save(store, new, server_dir / "tls")


def _end_at(cut: int, step: int) -> None:
    if cut == step:
        log("fatal", f"the end in the middle of a token's rotation, step {step} (a fault of the stand-in)")
        os._exit(1)


def _is_known() -> bool:
    minor, patch = (int(part) for part in VERSION.partition("+")[0].partition("-")[0].split(".")[1:3])
    return minor > max(_FIRST_PATCH) or (minor in _FIRST_PATCH and patch >= _FIRST_PATCH[minor])


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, separator, value = rest.pop(0).lstrip("-").partition("=")
        if name not in _OPTIONS:
            raise FatalError(f"flag provided but not defined: -{name}")
        if not separator and not rest:
            raise FatalError(f"flag needs an argument: -{name}")
        found[_OPTIONS[name]] = value if separator else rest.pop(0)
    return found


def _ask(server: str, present: str, new: str) -> None:
    """Know the server by the authority's hash in the token, then ask it.

    Raises:
        FatalError: another authority, or a refusal.
        OSError: nobody answers.
    """
    authority = _authority(server)
    digest = hashlib.sha256(authority).hexdigest()
    if present.startswith("K10") and present[_HASH_BEGINS:_HASH_ENDS] != digest:
        raise FatalError("token CA hash does not match the Cluster CA certificate hash")
    context = ssl.create_default_context(cadata=authority.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the stand-in's authorities carry as few extensions as k3s' own
    body = json.dumps({"newToken": new}).encode()
    headers = {"Authorization": _basic(present.rpartition(":")[2]), "Content-Type": "application/json"}
    status, said = _request(server, context, "PUT", PATH, body=body, headers=headers)
    if status != http.client.OK:
        raise FatalError(f"{server}{PATH}: {status} {said.decode(errors='replace').strip()[:200]}")


def _authority(server: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is told to it yet; what it shows is held against the token's hash
    status, said = _request(server, context, "GET", "/cacerts")
    if status != http.client.OK:
        raise FatalError(f"failed to get CA certs: {server}/cacerts: {status}")
    return said


def _request(
    server: str,
    context: ssl.SSLContext,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    place = urlsplit(server)
    connection = http.client.HTTPSConnection(
        place.hostname or "", place.port or 443, timeout=_TIMEOUT_S, context=context
    )
    try:
        connection.request(method, path, body=body, headers=headers or {})
        found = connection.getresponse()
        return found.status, found.read()
    finally:
        connection.close()


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"server:{password}".encode()).decode()
