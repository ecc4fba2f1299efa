"""The embedded etcd: where its data lies, `k3s etcd-snapshot save`, and the reset that makes it anew from a snapshot.

Contract: docs.k3s.io, cli/etcd-snapshot; k3s-io/k3s, pkg/cli/server/server.go, pkg/cluster/managed.go and pkg/etcd. k3s
takes etcd where server/db/etcd is there, whatever is configured. What lies in it is a table as for SQLite here, in the
place of etcd's own file. A snapshot ends in the SHA-256 of what precedes it (etcd docs, op-guide/recovery).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import sys
import time

from .bootstrap import restore_authorities
from .config import data_dir, read_config
from .datastore import Datastore
from .environment import below_root, write_private
from .journal import FatalError, log
from .server_token import server_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .config import ServerConfig

_ETCD = "db/etcd"
_FILE = f"{_ETCD}/member/snap/db"
_RESET = "db/reset-flag"
_HASH_BYTES = 32


def datastore_file(server_dir: Path, config: ServerConfig) -> Path:
    """The file of the datastore: etcd's where there is one or where it is to begin so, else SQLite's."""
    sqlite = server_dir / "db/state.db"
    if (server_dir / _ETCD).exists() or (config.is_set("cluster-init") and not sqlite.exists()):
        (server_dir / _RESET).unlink(missing_ok=True)
        return server_dir / _FILE
    return sqlite


def reset(server_dir: Path, config: ServerConfig) -> None:
    """`--cluster-reset`: make etcd anew, from a snapshot if one is named; the program ends then.

    Raises:
        FatalError: there is no such snapshot, it is damaged, or the token is not the one it was taken with; or a reset
            was done already and nothing was started since.
    """
    named, flag = config.text("cluster-reset-restore-path"), server_dir / _RESET
    if named:
        _restore(server_dir, below_root(named), config.text("token"))
    elif flag.exists():
        raise FatalError(
            "starting kubernetes: preparing server: start managed database: cluster-reset was successfully performed,"
            " please remove the cluster-reset flag and start k3s normally, if you need to perform another cluster"
            f" reset, you must first manually delete the {flag} file"
        )
    write_private(flag, "")
    log(
        "info",
        "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and delete"
        " ${datadir}/server/db on each peer etcd server and rejoin the nodes",
    )


def _restore(server_dir: Path, snapshot: Path, token: str) -> None:
    if not token and not (server_dir / "token").exists():
        raise FatalError(f"{server_dir / 'token'} does not exist, please pass --token to complete the restoration")
    if not snapshot.exists():
        raise FatalError(f"starting kubernetes: etcd: snapshot path does not exist: {snapshot}")
    content = snapshot.read_bytes()
    said, found = content[-_HASH_BYTES:], hashlib.sha256(content[:-_HASH_BYTES]).digest()
    if said != found:
        raise FatalError(f"starting kubernetes: expected sha256 {said.hex()}, got {found.hex()}")
    if (server_dir / _ETCD).exists():
        (server_dir / _ETCD).rename(server_dir / f"db/etcd-old-{int(time.time())}")
    (server_dir / _FILE).parent.mkdir(parents=True, mode=0o700)
    write_private(server_dir / _FILE, content[:-_HASH_BYTES])
    store = Datastore(server_dir / _FILE)
    restore_authorities(store, server_password(server_dir, token), server_dir / "tls")


def etcd_snapshot(arguments: Sequence[str]) -> int:
    """`etcd-snapshot save [--name NAME] [--etcd-snapshot-dir DIR]`; the exit status."""
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    config = read_config((), 99)
    server_dir = below_root(data_dir(config)) / "server"
    if arguments[:1] != ["save"] or options.keys() - {"--name", "--etcd-snapshot-dir"}:
        sys.stderr.write("k3s etcd-snapshot: the stand-in for k3s offers save --name NAME --etcd-snapshot-dir DIR\n")
        return 1
    if not (server_dir / _FILE).exists():
        log("fatal", "etcd datastore disabled")
        return 1
    node = config.text("node-name") or socket.gethostname().lower()
    name = f"{options.get('--name', 'on-demand')}-{node}-{int(time.time())}"
    place = options.get("--etcd-snapshot-dir", "")
    directory = below_root(place) if place else server_dir / "db/snapshots"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _save(server_dir / _FILE, directory / name)
    log("info", f"Snapshot {name} saved.")
    return 0


def _save(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.tmp")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"):  # noqa: PTH123 — a descriptor
        pass
    read, written = sqlite3.connect(source), sqlite3.connect(beside)
    read.backup(written)
    written.execute("PRAGMA journal_mode=DELETE")  # one file, that needs no log beside it
    written.close()
    read.close()
    with beside.open("ab") as file:
        file.write(hashlib.sha256(beside.read_bytes()).digest())
    shutil.move(beside, target)
