"""The whole road: the node takes a backup, the queue pulls it over a real sshd, and brings it to a new node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    backup_place,
    fence,
    layout,
    restore_course,
    restore_source,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests_support import restore_node
from tests_support.activation_machine import files
from tests_support.console_fleet import add_site
from tests_support.restore_node import VERSION, K3s, add_object, cluster_id, objects
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, running_sshd

from edgemgr.inventory.backup_rehearse import rehearse
from edgemgr.inventory.backup_store import open_store
from edgemgr.links import backup_pull, transfer_node
from edgemgr.links.backup_pull import BackupPlace
from edgemgr.links.transfer_node import Reserve, StorePlace
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.backup import Backup
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target
from edgemgr.queue import restoring
from edgemgr.queue.direct import carry_out
from edgemgr.queue.errand import Errand
from edgemgr.queue.restoring import bring_backup
from edgemgr.settings import Settings
from edgemgr.store import backups
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")

VAULT = Vault(bytes(range(32)))


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("node"), config="Subsystem sftp internal-sftp\n") as running:
        yield running


@pytest.fixture
def k3s(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> K3s:
    """A node on which k3s runs; the appliance's programs look for its files where they are."""
    monkeypatch.setattr(
        backup_pull, "BackupPlace", partial(BackupPlace, backup_place.directory(), layout.STATE_DIR + "/outgoing")
    )
    monkeypatch.setattr(
        transfer_node,
        "StorePlace",
        partial(StorePlace, layout.CACHE_DIR, layout.INCOMING_DIR, layout.FENCE_RECORD, layout.LOCK),
    )
    monkeypatch.setattr(restoring, "RESERVE", Reserve(free_bytes=0, inodes=0))
    k3s = restore_node.playing(monkeypatch)
    restore_node.install(k3s)
    for number in range(400):
        add_object(f"object {number} " + "x" * 300)
    return k3s


class Road:
    """Attempts at this node's site."""

    def __init__(self, database: Database, settings: Settings, sshd: ThrowawaySshd) -> None:
        self.database, self.settings, self._sshd = database, settings, sshd
        self.site_id = add_site(database, "store-1")

    def errand(self, kind: str, params: dict[str, Any], *, attempt: int, number: int = 1) -> Errand:
        claimed: Any = SimpleNamespace(
            operation=SimpleNamespace(kind=kind, site_id=self.site_id, params=params),
            attempt=SimpleNamespace(id=attempt, number=number),
            site_name="store-1",
        )
        target = Target(
            site_id=self.site_id,
            name="store-1",
            address="127.0.0.1",
            port=self._sshd.port,
            user="root",
            host_key=self._sshd.host_keys[0],
            password=Secret(PASSWORD),
        )
        return Errand(self.database, self.settings, claimed, target, VAULT, lambda: False, lambda: False)

    def pull(self) -> AttemptResult:
        return carry_out(self.errand("pull", {}, attempt=99))

    def held(self) -> list[Backup]:
        with self.database.read() as session:
            return backups.of_site(session, self.site_id)


@pytest.fixture
def road(database: Database, settings: Settings, sshd: ThrowawaySshd) -> Road:
    return Road(database, settings, sshd)


def test_what_the_node_takes_is_held_here_encrypted_and_each_block_once(k3s: K3s, road: Road) -> None:
    restore_node.backup(7)
    assert road.pull() == AttemptResult(Outcome.SUCCEEDED)
    add_object("one more")
    told = restore_node.backup(8)
    assert road.pull().outcome is Outcome.SUCCEEDED
    newest, first = road.held()
    assert (newest.attempt, newest.digest, newest.k3s_version) == (8, told["digest"], VERSION)
    assert newest.added_bytes < first.added_bytes / 2
    kept = b"".join(path.read_bytes() for path in road.settings.backup_dir.rglob("*") if path.is_file())
    assert b"K10one" not in kept
    assert b"object 7" not in kept
    with open_store(road.settings.backup_dir, VAULT, "store-1") as store:
        store.write_part(newest.digest, "state.db", road.settings.state_dir / "copy")
    assert (road.settings.state_dir / "copy").read_bytes() == (Path(backup_place.path(8)) / "state.db").read_bytes()


def test_a_pull_that_is_repeated_brings_nothing_and_changes_nothing(k3s: K3s, road: Road) -> None:
    restore_node.backup(7)
    road.pull()
    before = road.held()[0].pulled_at
    (Path(backup_place.path(7)) / "state.db").unlink()  # it is not even asked for
    assert road.pull().outcome is Outcome.SUCCEEDED
    assert [row.pulled_at for row in road.held()] == [before]


def test_a_block_that_the_node_s_disk_has_damaged_is_noticed_at_the_pull(k3s: K3s, road: Road) -> None:
    restore_node.backup(7)
    road.pull()
    for number in range(50):
        add_object(f"later {number} " + "y" * 300)
    restore_node.backup(8)
    path = Path(backup_place.path(8)) / "state.db"
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)
    result = road.pull()
    assert (result.outcome, result.code) == (Outcome.REFUSED, "E-BACKUP-DAMAGED")
    assert "state.db was changed at byte" in result.message
    assert [row.attempt for row in road.held()] == [7], "it is no backup"


def test_a_node_without_a_backup_is_told_so(k3s: K3s, road: Road) -> None:
    result = road.pull()
    assert (result.outcome, result.code) == (Outcome.REFUSED, "E-BACKUP-GONE")


def test_a_pull_that_is_stopped_goes_on_where_it_was(k3s: K3s, road: Road) -> None:
    restore_node.backup(7)
    errand = road.errand("pull", {}, attempt=99)
    asked = iter([False] * 4)
    stopped = Errand(**{**errand.__dict__, "is_canceled": lambda: next(asked, True)})
    assert carry_out(stopped).outcome is Outcome.CANCELED
    assert road.held() == []
    assert road.pull().outcome is Outcome.SUCCEEDED
    assert len(road.held()) == 1


def test_a_backup_comes_to_an_empty_node_and_is_the_same_cluster_there(k3s: K3s, road: Road, node_root: Path) -> None:
    identity, before = cluster_id(), objects()
    told = restore_node.backup(7)
    road.pull()
    artifacts = files(VERSION)
    restore_node.empty(node_root, k3s)
    params = {"backup": 7, "digest": told["digest"], "version": VERSION}
    assert bring_backup(road.errand("restore", params, attempt=120), within_s=60) is None
    assert list(road.settings.runtime_dir.iterdir()) == [], "nothing decrypted is left here"
    source = restore_source.find(7, told["digest"])
    asked = {"attempt": 120, "number": 120, "site": "store-1", "version": VERSION}
    asked.update(start_timeout_s=10, verify_timeout_s=10)
    with fence.hold(120, 0):
        restore_course.restore(source, SitePlan("store-1", VERSION, artifacts, {}), asked, Steps())
    assert (cluster_id(), objects()) == (identity, before)
    assert {path.name for path in Path(layout.CACHE_DIR).iterdir()} == {each["digest"] for each in artifacts}


def test_a_backup_that_the_node_has_kept_does_not_travel_unless_a_restore_of_it_failed(k3s: K3s, road: Road) -> None:
    told = restore_node.backup(7)
    road.pull()
    params = {"backup": 7, "digest": told["digest"], "version": VERSION}
    assert bring_backup(road.errand("restore", params, attempt=120), within_s=60) is None
    assert not Path(layout.cached(told["digest"])).exists()
    assert bring_backup(road.errand("restore", params, attempt=121, number=2), within_s=60) is None
    assert Path(layout.cached(told["digest"])).exists()


def test_a_rehearsal_opens_what_was_pulled_and_finds_it_sound(k3s: K3s, road: Road) -> None:
    (restore_node.server() / "tls/server-ca.crt").write_text(_certificate())
    restore_node.backup(7)
    road.pull()
    row = road.held()[0]
    found = rehearse(road.settings, VAULT, "store-1", row.id or 0, row.digest)
    assert (found.faults, found.is_sound) == ((), True)
    assert found.files > 5
    assert found.objects == 4


def _certificate() -> str:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s-server-ca")])
    begins = datetime(2026, 11, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=3650))
    return builder.sign(key, None).public_bytes(Encoding.PEM).decode()
