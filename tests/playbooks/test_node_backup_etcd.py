"""A backup of a node whose datastore is etcd: only k3s itself can take the snapshot."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import backup_etcd, backup_place, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from tests_support.backup_node import copied, install, take, write


@pytest.fixture
def node(node_root: Path) -> Path:
    install()
    return node_root


def _etcd(body: str) -> None:
    """A k3s whose `etcd-snapshot save` does what the script says; $name is what it is to be called."""
    (Path(layout.DATA_DIR) / "server/db/etcd/member/snap").mkdir(parents=True)
    script = f'#!/bin/sh\nset -eu\n[ "$1 $2 $3" = "etcd-snapshot save --name" ]\nname="$4" place="$6"\n{body}\n'
    write(Path(layout.K3S), script)
    Path(layout.K3S).chmod(0o755)


def _snapshot(path: Path) -> bytes:
    content = random.Random(2).randbytes(4096 * 5)  # noqa: S311 - any bytes will do
    path.write_bytes(content + hashlib.sha256(content).digest())
    return path.read_bytes()


def test_etcd_is_saved_by_k3s_itself_and_its_own_copy_goes(node: Path, tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path / "snapshot")
    _etcd(f'mkdir -p "$place"; cp {tmp_path}/snapshot "$place/$name-store-1-1763720000"')
    told = take(7)
    assert (told["datastore"], told["revision"]) == ("etcd", None)
    assert copied(7, "etcd.snapshot").read_bytes() == snapshot
    assert list(Path(backup_etcd.directory()).iterdir()) == []
    assert backup_place.verify(7)["parts"][0]["name"] == "etcd.snapshot"


def test_etcd_that_cannot_be_saved_is_said_with_the_words_of_k3s(node: Path, tmp_path: Path) -> None:
    _etcd('echo "level=fatal msg=\\"etcd datastore is not started\\"" >&2; exit 1')
    with pytest.raises(EdgeError, match=r"the datastore is etcd, and .*etcd datastore is not started") as caught:
        take(7)
    assert caught.value.code == "E-BACKUP-ETCD"
    assert list(Path(backup_place.directory()).iterdir()) == []


def test_a_damaged_snapshot_of_etcd_is_no_backup(node: Path, tmp_path: Path) -> None:
    whole = _snapshot(tmp_path / "snapshot")
    _etcd(f'mkdir -p "$place"; cp {tmp_path}/snapshot "$place/$name-store-1-1763720000"')
    for damaged in (whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        (tmp_path / "snapshot").write_bytes(damaged)
        with pytest.raises(EdgeError) as caught:
            take(7)
        assert caught.value.code == "E-BACKUP-ETCD"
    assert backup_place.whole() == []
