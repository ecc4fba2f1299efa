"""Taking a backup of a node: the datastore of one moment, and the files that belong to it."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    activation_state,
    backup_blocks,
    backup_etcd,
    backup_files,
    backup_place,
    backup_sqlite,
    layout,
    marker,
    node_facts,
    restore_places,
    token_record,
    token_seal,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, NEVER, EdgeError

SQLITE, ETCD = "sqlite", "etcd"
FILES = "files.tar"
DATASTORES = {SQLITE: "state.db", ETCD: "etcd.snapshot"}

_TRIES = 3
_PAUSE_S = 2.0
_VERSION_TIMEOUT_S = 30


def datastore() -> str:
    """The kind of datastore that this node's k3s keeps on its own disk.

    Raises:
        EdgeError: there is none (E-BACKUP-DATASTORE).
    """
    if os.path.isdir(layout.DATA_DIR + "/server/db/etcd"):
        return ETCD
    if os.path.isfile(layout.DATA_DIR + "/server/db/state.db"):
        return SQLITE
    raise EdgeError(
        "E-BACKUP-DATASTORE",
        "there is no datastore of k3s on this node, neither SQLite nor etcd",
        "See whether k3s has ever run here. A database on another machine has to be saved there.",
        NEVER,
    )


def need_bytes() -> int:
    """About how much a backup will take: the datastore with its log, the files, and the block lists."""
    db = layout.DATA_DIR + "/server/db"
    names = ["etcd/member/snap/db"] if datastore() == ETCD else ["state.db", "state.db-wal"]
    size = sum(os.stat(f"{db}/{name}").st_size for name in names if os.path.exists(f"{db}/{name}"))
    size += sum(len(data) for _, data in backup_files.read_all().values())
    return size + size // 64 + (1 << 20)


def refuse_without_room(min_free_mib: int) -> None:
    """See that a backup fits and leaves so much free.

    Raises:
        EdgeError: it does not (E-BACKUP-ROOM); nothing was written.
    """
    need, free = need_bytes(), node_facts.file_system(backup_place.directory())["free_bytes"]
    if free < need + (min_free_mib << 20):
        raise EdgeError(
            "E-BACKUP-ROOM",
            "{0} has {1} MiB free; the backup takes {2} MiB, and {3} MiB are to stay free".format(
                node_facts.existing(backup_place.directory()), free >> 20, -(-need >> 20), min_free_mib
            ),
            "Free some room on the node, keep fewer backups there, or give it a larger disk.",
            NEVER,
        )


def refuse_half_way() -> None:
    """See that no upgrade or restore is half-way: version, datastore and files need not belong together then.

    Raises:
        EdgeError: one is (E-BACKUP-UPGRADE, E-RESTORE-UNFINISHED).
    """
    if restore_places.is_unfinished():
        raise EdgeError(
            "E-RESTORE-UNFINISHED",
            "a restore of this node was cut off, so what is there now may be half the old and half the new state",
            "Restore the site again: `edgemgr backup restore SITE`.",
            BUDGETED,
        )
    if activation_state.is_unfinished() or os.path.exists(activation_paths.hold()):
        raise EdgeError(
            "E-BACKUP-UPGRADE",
            "an upgrade of this node has not ended, so what is there now may be neither the old nor the new state",
            "Wait for its end. If it needs hands, settle it first: it has kept both states on the node.",
            BUDGETED,
        )


def take(site: str, attempt: int, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Take the backup of this attempt, or find that it has been taken; returns what `edge_backup` tells of it.

    The caller holds the fence.

    Raises:
        EdgeError: see the parts; E-BACKUP-MOVED when tokens or certificates keep changing meanwhile, E-BACKUP-TOKEN
            when the datastore does not open with the token that is there.
    """
    refuse_half_way()
    if attempt in backup_place.whole():
        backup_place.verify(attempt)
    else:
        place = backup_place.begin(attempt)
        try:
            backup_place.publish(place, attempt, _fill(place, site, attempt, sleep))
        except BaseException:
            backup_place.sweep()  # the disk may be full of it
            raise
    manifest, digest = backup_place.read_manifest(attempt)
    told = {key: manifest[key] for key in ("attempt", "datastore", "k3s_version", "revision", "taken_at")}
    told["token"] = manifest.get("token")
    return dict(told, digest=digest, size_bytes=sum(part["size_bytes"] for part in manifest["parts"]))


def _fill(place: str, site: str, attempt: int, sleep: Callable[[float], None]) -> dict[str, Any]:
    kind = datastore()
    stored = place + "/" + DATASTORES[kind]
    for _ in range(_TRIES):
        before = backup_files.fingerprint(backup_files.read_all())
        taken_at = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        version = _version()
        _copy(kind, attempt, stored)
        content = backup_files.read_all()
        is_foreign = kind == SQLITE and _is_foreign(stored, content)
        if backup_files.fingerprint(content) == before and _version() == version and not is_foreign:
            break
        os.unlink(stored)
        sleep(_PAUSE_S)
    else:
        if is_foreign:
            raise _does_not_open()
        raise EdgeError(
            "E-BACKUP-MOVED",
            f"tokens, certificates or configuration changed during each of {_TRIES} tries to take a backup",
            "k3s may be restarting over and over: see `systemctl status k3s` on the node.",
            BUDGETED,
        )
    files = backup_files.pack(content, place + "/" + FILES)
    # Hashed first, checked after: what is damaged later is told by the hash, what was before by the check.
    parts = [backup_blocks.add_list(place, name) for name in (DATASTORES[kind], FILES)]
    revision = backup_sqlite.check(stored) if kind == SQLITE else None
    return {
        "format": backup_place.FORMAT,
        "site": site,
        "attempt": attempt,
        "taken_at": taken_at,
        "k3s_version": version,
        "datastore": kind,
        "revision": revision,
        "token": token_record.see(attempt),
        "parts": parts,
        "files": files,
    }


def _is_foreign(stored: str, content: dict[str, tuple[os.stat_result, bytes]]) -> bool:
    token = content["server/token"][1].decode("utf-8", "replace")
    return token_seal.is_foreign(stored, token, token_seal.ALONE)


def _does_not_open() -> EdgeError:
    return EdgeError(
        "E-BACKUP-TOKEN",
        "the datastore was sealed with another token than the one in server/token, so a backup would be of no use",
        "If the token's rotation was cut off, its next attempt ends it; else look at `journalctl -u k3s` on the node.",
        BUDGETED,
    )


def _copy(kind: str, attempt: int, target: str) -> None:
    if kind == SQLITE:
        backup_sqlite.copy(layout.DATA_DIR + "/server/db/state.db", target)
    else:
        backup_etcd.copy(attempt, target)


def _version() -> str:
    """The k3s that is installed: as edgemgr noted it, or as the program says."""
    installed = marker.read()
    if installed is not None:
        return str(installed["version"])
    try:
        said = subprocess.run(
            [layout.K3S, "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        ).stdout.split()
    except FileNotFoundError:
        said = []
    return said[2] if said[:2] == ["k3s", "version"] else ""
