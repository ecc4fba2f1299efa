"""Runs inside a rehearsal's namespaces, as their process 1: starts k3s there, asks its API, tells what came of it.

A program of its own, for the standard library alone: `rehearsal_space.py` starts it below `unshare`, gives it one line
of JSON, and reads one. As long as it runs its standard input stays open; when that ends, so does it, and the kernel
ends everything else in the namespaces with it.

k3s sees a root of its own: the tree of the backup in the places of a node, the appliance's programs to read, and
nothing else of this machine. Its network is a loopback with the node's address on it, and a default route that leads
nowhere, because k3s wants one (docs.k3s.io, air-gap install).
"""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8  # mount(2)
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_RELATIME = 32, 4096, 16384, 1 << 21
_ST_RELATIME = 4096  # statvfs(3): the only one whose number differs

_BORROWED = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_OWN = ("dev/shm", "etc", "opt/data", "proc", "root", "run", "tmp", "var/lib", "var/log", "var/tmp", "etc/rancher")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"}
_RANCHER = "var/lib/rancher"
_TLS = f"{_RANCHER}/k3s/server/tls"
_OOM_SCORE = "800"  # when memory runs out, this goes before the appliance does

_PORT = 6443
_ASK_S, _PAUSE_S, _TRIES = 10.0, 0.5, 3
_ANSWER_BYTES = 64 << 20
_PAGE = 500
_JSON = "application/json"
#: Names alone, where the server can do so: it has to open each secret all the same, and none leaves it.
_NAMES = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, {_JSON}"
_LISTED = {"nodes": "/api/v1/nodes", "namespaces": "/api/v1/namespaces", "secrets": "/api/v1/secrets"}
_LINES, _LINE_BYTES = 60, 2000
_BLOCK_BYTES = 1 << 20


class _RefusedError(Exception):
    """The API did not give what was asked."""


def main() -> None:
    """Read the order, carry it out, write the report; never returns."""
    order = json.loads(_first_line())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    report: dict[str, Any] = {"outcome": "setup", "said": "", "log": []}
    try:
        _step_back()
        _make_network(order["addresses"])
        root = _make_root(order)
        report = _rehearse(order, root)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        report["said"] = _said(exc)
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    os._exit(0)


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)  # unbuffered: what follows is the sign that we are still wanted
        if not byte:
            os._exit(4)
        line += byte
    return line


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(4)


def _said(exc: Exception) -> str:
    told = getattr(exc, "stderr", None) or getattr(exc, "output", None)
    return told.decode(errors="replace").strip() if isinstance(told, bytes) and told.strip() else str(exc)


def _step_back() -> None:
    """Let everything else on this machine go first."""
    os.nice(10)
    Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _make_network(addresses: list[str]) -> None:
    lines = ["link set lo up"]
    for address in addresses:
        family, length = ("-6", 128) if ":" in address else ("-4", 32)
        lines += [f"{family} address add {address}/{length} dev lo", f"{family} route add default dev lo"]
    for line in lines:
        subprocess.run(["ip", *line.split()], env=_ENVIRONMENT, capture_output=True, timeout=20, check=True)


def _make_root(order: dict[str, Any]) -> Path:
    """The root that k3s sees, on a file system in memory that only these namespaces have."""
    root, tree = Path(order["place"]) / "root", Path(order["place"]) / "tree"
    root.mkdir(mode=0o700, exist_ok=True)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=755,size={order['memory_bytes']}")
    for name in _OWN:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in _BORROWED:
        _borrow(Path("/") / name, root / name)
    for name in _DEVICES:
        (root / "dev" / name).touch()
        _mount(f"/dev/{name}", root / "dev" / name, None, _MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (root / "dev" / name).symlink_to(target)
    _mount("proc", root / "proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    _mount(str(tree / "etc/rancher"), root / "etc/rancher", None, _MS_BIND)
    (root / _RANCHER).mkdir()
    _mount(str(tree / _RANCHER), root / _RANCHER, None, _MS_BIND)
    # k3s unpacks programs there and runs them, and runtime_dir may forbid that (noexec).
    _mount(str(root / "opt/data"), root / _RANCHER / "k3s/data", None, _MS_BIND)
    _copy_program(Path(order["program"]), order["digest"], root / "k3s")
    return root


def _borrow(source: Path, target: Path) -> None:
    """Show a directory of this machine, to be read only; a link as the link that it is."""
    if source.is_symlink():
        target.symlink_to(os.readlink(source))  # noqa: PTH115 — the text of the link
    elif source.is_dir():
        target.mkdir()
        _mount(str(source), target, None, _MS_BIND | _MS_REC)
        # Without root only a file system's present flags may be kept, and those have to be named again.
        present = os.statvfs(target).f_flag
        flags = present & ~_ST_RELATIME | (_MS_RELATIME if present & _ST_RELATIME else 0)
        _mount("none", target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(
        source.encode(), str(target).encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode()
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source}: {os.strerror(number)}")


def _copy_program(source: Path, digest: str, target: Path) -> None:
    found = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(_BLOCK_BYTES):
            found.update(block)
            written.write(block)
    if found.hexdigest() != digest:
        raise OSError(f"{source} has another SHA-256 than when it was added")
    target.chmod(0o500)


def _rehearse(order: dict[str, Any], root: Path) -> dict[str, Any]:
    """Start k3s, and tell how far it came."""
    began_at = time.monotonic()
    deadline = began_at + order["start_timeout_s"]
    api = _Api(order["api"], root / _TLS)  # now: k3s may write another authority there
    if order["snapshot"]:
        reset = _K3s(
            root, [*order["arguments"], "--cluster-reset", f"--cluster-reset-restore-path={order['snapshot']}"]
        )
        status = reset.wait(deadline - time.monotonic())
        if status != 0 or not (root / _RANCHER / "k3s/server/db/etcd").is_dir():
            return {"outcome": "late" if status is None else "reset", "status": status, "said": "", "log": reset.end()}
    k3s = _K3s(root, order["arguments"])
    report: dict[str, Any] = {"outcome": "late", "said": ""}
    while time.monotonic() < deadline and report["outcome"] == "late":
        if k3s.has_ended:
            report["outcome"] = "ended"
        elif said := api.not_ready():
            report["said"] = said
            time.sleep(_PAUSE_S)
        else:
            report.update(outcome="ready", said="", ready_s=round(time.monotonic() - began_at, 1))
    if report["outcome"] == "ready":
        try:
            report["cluster_id"] = _patiently(api.cluster_id)
            report["listed"] = {name: _patiently(partial(api.count, path)) for name, path in _LISTED.items()}
        except _RefusedError as exc:
            report.update(outcome="ended" if k3s.has_ended else "refused", said=str(exc))
    return {**report, "log": k3s.end(order["stop_timeout_s"]), "status": k3s.status}


def _patiently(ask: Callable[[], Any]) -> Any:
    """What is asked, after a second and a third try if need be."""
    for left in reversed(range(_TRIES)):
        try:
            return ask()
        except _RefusedError:
            if not left:
                raise
            time.sleep(2 * _PAUSE_S)
    return None


class _K3s:
    """k3s, and the last lines that it says."""

    def __init__(self, root: Path, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            ["chroot", str(root), "/k3s", "server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
        )
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """What it ended with."""
        return self._process.returncode

    def wait(self, timeout_s: float) -> int | None:
        """What it ends with; None when it does not by then."""
        try:
            return self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return None

    def end(self, timeout_s: float = 0.0) -> list[str]:
        """Stop it, hard if it has not ended by then; its last lines."""
        if not self.has_ended:
            self._process.terminate()
            if self.wait(timeout_s) is None:
                self._process.kill()
                self._process.wait()
        self._reader.join(1.0)
        return list(self._lines)

    def _read(self) -> None:
        stream = self._process.stdout
        while stream is not None and (line := stream.readline(_LINE_BYTES)):
            self._lines.append(line.decode(errors="replace").rstrip())


class _Api:
    """The API, known by the authority of the backup, asked with the administrator's certificate of the backup."""

    def __init__(self, host: str, tls_dir: Path) -> None:
        self._host = host
        self._tls_dir = tls_dir
        self._authority = (tls_dir / "server-ca.crt").read_text()

    def not_ready(self) -> str:
        """What keeps it from being ready; empty when it is."""
        try:
            status, body = self._get("/readyz")
        except _RefusedError as exc:
            return str(exc)
        return (
            "" if status == http.client.OK else f"/readyz says {status}: {body.decode(errors='replace')[:_LINE_BYTES]}"
        )

    def cluster_id(self) -> str:
        """The uid of the namespace kube-system, by which a cluster is known."""
        return str(self._json("/api/v1/namespaces/kube-system").get("metadata", {}).get("uid", ""))

    def count(self, path: str) -> int:
        """How many objects a list has, read to its end."""
        count, more = 0, ""
        while True:
            page = self._json(f"{path}?limit={_PAGE}" + (f"&continue={quote(more)}" if more else ""), _NAMES)
            count += len(page.get("items") or [])
            more = str((page.get("metadata") or {}).get("continue") or "")
            if not more:
                return count

    def _json(self, path: str, accept: str = _JSON) -> dict[str, Any]:
        status, body = self._get(path, accept)
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if status != http.client.OK or not isinstance(content, dict):
            told = content.get("message") if isinstance(content, dict) else None
            raise _RefusedError(f"{path.partition('?')[0]}: {told or f'status {status}'}")
        return content

    def _get(self, path: str, accept: str = "*/*") -> tuple[int, bytes]:
        try:
            context = ssl.create_default_context(cadata=self._authority)
            context.verify_flags &= (
                ~ssl.VERIFY_X509_STRICT
            )  # k3s' authorities carry fewer extensions than that asks for
            # Read each time: k3s renews the certificate at its start if it ends soon.
            context.load_cert_chain(self._tls_dir / "client-admin.crt", self._tls_dir / "client-admin.key")
            connection = http.client.HTTPSConnection(self._host, _PORT, timeout=_ASK_S, context=context)
            try:
                connection.request("GET", path, headers={"Accept": accept})
                answer = connection.getresponse()
                return answer.status, answer.read(_ANSWER_BYTES)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as exc:
            raise _RefusedError(
                f"it shows a certificate that the authority in the backup did not sign ({exc.verify_message})"
            ) from exc
        except (OSError, ssl.SSLError, http.client.HTTPException) as exc:
            raise _RefusedError(f"the API does not answer: {exc}") from exc


if __name__ == "__main__":
    main()
