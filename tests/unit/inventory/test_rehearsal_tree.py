"""Laying a backup out as on its node: what goes where, and what a site cannot make the appliance write."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from edgemgr.inventory.rehearsal_faults import RehearsalError
from edgemgr.inventory.rehearsal_tree import DATA_DIR, RestoredTree, lay_out

NAMESPACE = {"metadata": {"name": "kube-system", "uid": "7f1c"}}
FILES = {
    "server/token": b"K10aa::server:the-password\n",
    "server/tls/server-ca.crt": b"CA",
    "server/tls/server-ca.key": b"-----BEGIN KEY-----\nMHcCAQEEIKEY\n-----END KEY-----\n",
    "server/cred/passwd": b"the-agents-one,node,node,k3s:agent\nthe-password,server,server,k3s:server\n",
    "server/cred/encryption-config.json": json.dumps({"keys": [{"name": "k", "secret": "c2VhbGluZw=="}]}).encode(),
    "server/psa.yaml": b"kind: AdmissionConfiguration\n",
    "config/config.yaml": b"secrets-encryption: true\n",
    "config/k3s.yaml": b"kind: Config\n",
    "node/password": b"of-the-node\n",
    "service/k3s.service": b"[Service]\n",
    "edgemgr/installed.json": b"{}",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The parts of a backup, as a rehearsal has them."""
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, name INTEGER, value BLOB)")
        for number, value in enumerate(({"metadata": {"uid": "older"}}, NAMESPACE)):
            row = number, "/registry/namespaces/kube-system", json.dumps(value).encode()
            database.execute("INSERT INTO kine VALUES (?, ?, ?)", row)
    _pack(tmp_path, FILES)
    return tmp_path


def _pack(place: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> None:
    with tarfile.open(place / "files.tar", "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1_700_000_000, 0o4777
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member)


def _there(tree: RestoredTree) -> dict[str, bytes]:
    return {str(path.relative_to(tree.root)): path.read_bytes() for path in tree.root.rglob("*") if path.is_file()}


def test_what_k3s_needs_lies_where_a_node_has_it(place: Path) -> None:
    tree = lay_out(place, "store-1")
    found = _there(tree)
    config = found.pop("etc/rancher/k3s/rehearsal.yaml")
    assert b"secrets-encryption: true\n" in config
    assert found.pop(f"{DATA_DIR}/server/db/state.db")[:6] == b"SQLite"
    assert found == {
        **{f"{DATA_DIR}/{name}": data for name, data in FILES.items() if name.startswith("server/")},
        "etc/rancher/node/password": FILES["node/password"],
    }
    assert not (place / "state.db").exists()
    assert tree.identity == json.dumps(NAMESPACE).encode()


def test_everything_is_its_owner_s_alone_and_as_old_as_it_was(place: Path) -> None:
    tree = lay_out(place, "store-1")
    modes = {path.stat().st_mode & 0o7777 for path in [tree.root, *tree.root.rglob("*")] if path.name != "state.db"}
    assert modes == {0o700, 0o600}
    assert (tree.root / DATA_DIR / "server/tls/server-ca.crt").stat().st_mtime == 1_700_000_000


def test_a_snapshot_of_etcd_lies_beside_and_names_no_cluster(place: Path) -> None:
    (place / "state.db").rename(place / "etcd.snapshot")
    tree = lay_out(place, "store-1")
    assert (tree.root / "var/lib/rancher/rehearsal.snapshot").exists()
    assert tree.identity is None


def test_the_secrets_of_the_cluster_are_known(place: Path) -> None:
    found = {secret.reveal() for secret in lay_out(place, "store-1").secrets}
    assert found >= {"K10aa::server:the-password", "the-password", "the-agents-one", "c2VhbGluZw==", "of-the-node"}
    assert any("MHcCAQEEIKEY" in secret for secret in found)


@pytest.mark.parametrize("name", ["server/../../../etc/cron.d/x", "/etc/passwd", "server//tls/x", "server/./x"])
def test_a_name_that_leads_out_is_refused(place: Path, name: str) -> None:
    _pack(place, {**FILES, name: b"x"})
    with pytest.raises(RehearsalError) as caught:
        lay_out(place, "store-1")
    assert (caught.value.code, caught.value.was_started) == ("E-REHEARSE-FILE", False)


def test_a_site_does_not_put_a_datastore_beside_its_datastore(place: Path) -> None:
    _pack(place, {**FILES, "server/db/etcd/member/snap/db": b"x"})
    assert not (lay_out(place, "store-1").root / DATA_DIR / "server/db/etcd").exists()


def test_links_and_devices_stay_behind(place: Path) -> None:
    link, device = tarfile.TarInfo("server/tls/client-admin.crt"), tarfile.TarInfo("server/tls/null")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
    _pack(place, FILES, link, device)
    found = sorted(path.name for path in (lay_out(place, "store-1").root / DATA_DIR / "server/tls").iterdir())
    assert found == ["server-ca.crt", "server-ca.key"]
