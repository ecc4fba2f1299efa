"""`k3s certificate check` and `rotate`."""

from __future__ import annotations

import json
import shutil
import sys
import time

from .built import VERSION
from .certificates import LEAVES, RENEW_DAYS, expires_at
from .environment import DATA_DIR, below_root
from .journal import FatalError, log, timestamp
from .kubectl_print import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_WITH_FORMATS = 30  # the output formats came in January 2025, to the patch releases of 1.30 and younger


def certificate(arguments: Sequence[str]) -> int:
    """`certificate check [--output text|table|json]` or `certificate rotate`; the exit status."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if command == "check":
        return _check(_option(arguments, "--output", "-o") or "text")
    if command == "rotate":
        return _rotate(_option(arguments, "--service", "-s"))
    sys.stderr.write("k3s certificate: the stand-in for k3s offers check and rotate\n")
    return 1


def _check(output: str) -> int:
    minor = int(VERSION.split(".")[1])
    if output not in ("text", "table", "json") or (output != "text" and minor < _FIRST_WITH_FORMATS):
        log("fatal", f"invalid output format {output}")
        return 1
    log("info", "Server detected, checking agent and server certificates")
    tls_dir = below_root(DATA_DIR) / "server/tls"
    try:
        found = [(leaf, expires_at(tls_dir / f"{leaf.name}.crt")) for leaf in LEAVES]
    except FatalError as exc:
        log("fatal", str(exc))
        return 1
    if output == "text":
        for leaf, ends in found:
            log(
                "info" if _status(ends) == "OK" else "warning",
                f"{leaf.name}.crt: certificate {_subject(leaf.subject)} {_said(ends)}",
            )
    elif output == "json":
        entries = [
            {
                "Filename": f"{leaf.name}.crt",
                "Subject": _subject(leaf.subject),
                "ExpiryTime": timestamp(ends),
                "Status": _status(ends),
            }
            for leaf, ends in found
        ]
        sys.stdout.write(json.dumps({"Certificates": entries}) + "\n")
    else:
        rows = [["FILENAME", "SUBJECT", "USAGES", "EXPIRES", "RESIDUAL TIME", "STATUS"]]
        rows.append(["-" * len(word) for word in rows[0]])
        for leaf, ends in found:
            usage = "ServerAuth" if leaf.is_server else "ClientAuth"
            day = time.strftime("%b %d, %Y %H:%M UTC", time.gmtime(ends))
            left = f"{max(0, int(ends - time.time())) // 86400} days"
            rows.append([f"{leaf.name}.crt", _subject(leaf.subject), usage, day, left, _status(ends)])
        sys.stdout.write("\n" + columns(rows))
    return 0


def _rotate(service: str) -> int:
    server_dir = below_root(DATA_DIR) / "server"
    leaves = [leaf for leaf in LEAVES if service in ("", leaf.service)]
    if not leaves:
        log("fatal", f"service {service} is not recognized")
        return 1
    backup = server_dir / f"tls-{int(time.time())}"
    shutil.copytree(server_dir / "tls", backup)
    for leaf in leaves:
        for end in ("crt", "key"):
            (server_dir / f"tls/{leaf.name}.{end}").unlink(missing_ok=True)
    log(
        "info",
        f"Successfully backed up certificates to {backup}, please restart k3s server or agent to rotate certificates",
    )
    return 0


def _status(ends: float) -> str:
    left = ends - time.time()
    return "EXPIRED" if left <= 0 else "WARNING" if left < RENEW_DAYS * 86400 else "OK"


def _said(ends: float) -> str:
    at = timestamp(ends)
    return {
        "OK": f"is ok, expires at {at}",
        "WARNING": f"will expire within {RENEW_DAYS} days at {at}",
        "EXPIRED": f"expired at {at}",
    }[_status(ends)]


def _subject(subject: str) -> str:
    return subject.rpartition("/CN=")[2]


def _option(arguments: Sequence[str], *names: str) -> str:
    for at, word in enumerate(arguments):
        name, separator, value = word.partition("=")
        if name in names:
            return value if separator else (*arguments[at + 1 : at + 2], "")[0]
    return ""
