"""A snapshot of an embedded etcd, taken by k3s itself: only the running etcd can give one.

k3s writes `NAME-NODE-TIME` into its own directory (k3s docs, cli/etcd-snapshot). A snapshot ends in the sha256 of
what precedes it, as etcd's own restore expects (etcd docs, op-guide/recovery).
"""

from __future__ import annotations

import hashlib
import os
import subprocess

from ansible_collections.edgemgr.edge.plugins.module_utils import layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import READ_BYTES, remove

TIMEOUT_S = 600
_HASH_BYTES = 32
_SECTOR = 512  # a database file is a multiple of it, so that what is over is the hash


def directory() -> str:
    """Where k3s puts its snapshots, unless its configuration names another place."""
    return layout.DATA_DIR + "/server/db/snapshots"


def copy(attempt: int, target: str) -> None:
    """Have k3s take a snapshot, and move it to the new file `target`, durably.

    Raises:
        EdgeError: k3s took none, or it is damaged (E-BACKUP-ETCD).
    """
    name = f"edgemgr-backup-{attempt}"
    try:
        done = subprocess.run(
            [layout.K3S, "etcd-snapshot", "save", "--name", name, "--etcd-snapshot-dir", directory()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
        found = _named(name)
        if done.returncode != 0 or len(found) != 1:
            lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            raise _refused(f"`k3s etcd-snapshot save` took no snapshot: {lines[-1][:300]}")
        _copy_checked(directory() + "/" + found[0], target)
    finally:
        for each in _named(name):
            remove(directory() + "/" + each)  # k3s lists what lies there, and would keep it for ever


def reset(snapshot: str, timeout_s: float) -> None:
    """Have k3s, which stands still, make its etcd anew from a snapshot (k3s docs, cli/etcd-snapshot).

    Raises:
        EdgeError: it did not (E-RESTORE-ETCD).
    """
    done = subprocess.run(
        [layout.K3S, "server", "--cluster-reset", "--cluster-reset-restore-path=" + snapshot],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0 or not os.path.isdir(layout.DATA_DIR + "/server/db/etcd"):
        lines = done.stdout.strip().splitlines() or ["it said nothing"]
        raise EdgeError(
            "E-RESTORE-ETCD",
            f"k3s did not make its etcd from the snapshot: {lines[-1][:300]}",
            "Read what it said in the attempt's log; choose another backup if this one cannot be used.",
            BUDGETED,
            edge_log=lines[-20:],
        )


def _named(name: str) -> list[str]:
    try:
        return sorted(each for each in os.listdir(directory()) if each.startswith(name + "-"))
    except FileNotFoundError:
        return []


def _copy_checked(source: str, target: str) -> None:
    size = os.stat(source).st_size
    if size % _SECTOR != _HASH_BYTES:
        raise _refused("its snapshot does not end in a hash, so nobody could tell whether it is whole")
    digest, left = hashlib.sha256(), size - _HASH_BYTES
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(source, "rb") as read, os.fdopen(descriptor, "wb") as written:
        while left:
            data = read.read(min(READ_BYTES, left))
            if not data:
                break
            digest.update(data)
            written.write(data)
            left -= len(data)
        said = read.read(_HASH_BYTES)
        written.write(said)
        written.flush()
        os.fsync(written.fileno())
    if said != digest.digest():
        raise _refused("its snapshot is damaged: the hash at its end is not that of its content")


def _refused(why: str) -> EdgeError:
    return EdgeError(
        "E-BACKUP-ETCD",
        f"the datastore is etcd, and no backup of it could be taken: {why}",
        "etcd can be saved only while k3s runs: see `systemctl status k3s` and `k3s etcd-snapshot save` on the node.",
        BUDGETED,
    )
