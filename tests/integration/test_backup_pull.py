"""Backups pulled from a node over a real sshd: only what changed, whatever cuts in, and nothing damaged."""

from __future__ import annotations

import os
import pwd
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests_support.backup_files import describe, write_backup
from tests_support.console_fleet import add_site
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, running_sshd

from edgemgr.errors import Retry, SiteError, SiteUnreachableError
from edgemgr.inventory.backup_faults import BackupStoreError
from edgemgr.inventory.backup_pull import Kept, Shelf, keep_backup, prune
from edgemgr.inventory.backup_store import BackupStore, open_store
from edgemgr.links import node_backups
from edgemgr.links.backup_pull import BackupDamagedError, BackupPlace, Pulled, list_backups, pull_blocks
from edgemgr.links.connection import Connection
from edgemgr.links.ssh import connect
from edgemgr.links.throttle import Bucket, Throttle
from edgemgr.links.transfer import Stop
from edgemgr.model.backup_manifest import entries
from edgemgr.model.backup_retention import Retention
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target
from edgemgr.store import backups
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")

MIB = 1 << 20
VAULT = Vault(bytes(range(32)))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("node"), config="Subsystem sftp internal-sftp\n") as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace(str(tmp_path / "node/backups"), str(tmp_path / "node/outgoing"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BackupStore]:
    with open_store(tmp_path / "kept", VAULT, "store-1") as opened:
        yield opened


def _login(sshd: ThrowawaySshd) -> Connection:
    return connect(
        Target(
            site_id=1,
            name="store-1",
            address="127.0.0.1",
            port=sshd.port,
            user="root",
            host_key=sshd.host_keys[0],
            password=Secret(PASSWORD),
        )
    )


def _parts(seed: object, size: int = 3 * MIB) -> dict[str, bytes]:
    dice = random.Random(repr(seed))  # noqa: S311 - repeatable
    return {"state.db": dice.randbytes(size), "files.tar": dice.randbytes(20_480)}


def _changed(parts: dict[str, bytes], *blocks: int) -> dict[str, bytes]:
    data = bytearray(parts["state.db"])
    for number in blocks:
        data[number * 4096 + 7] ^= 1
    return {**parts, "state.db": bytes(data)}


def _write(place: BackupPlace, attempt: int, parts: dict[str, bytes]) -> str:
    return write_backup(Path(place.backups), attempt, parts)


def _list_bytes(parts: dict[str, bytes]) -> int:
    return sum(len(describe(name, data)[1]) for name, data in parts.items())


def test_a_backup_comes_whole_and_of_the_next_one_only_what_changed(
    sshd: ThrowawaySshd, place: BackupPlace, store: BackupStore, tmp_path: Path
) -> None:
    first = _parts("a")
    second = _changed(first, 5, 300, 301, 302)
    digests = [_write(place, 41, first), _write(place, 42, second)]
    shown: list[Pulled] = []
    with _login(sshd) as connection:
        assert list_backups(connection, place) == {41: digests[0], 42: digests[1]}
        pulled = pull_blocks(connection, 41, digests[0], store, place=place, on_progress=shown.append)
        assert store.commit(pulled.manifest) == digests[0]
        again = pull_blocks(connection, 42, digests[1], store, place=place)
        assert store.commit(again.manifest) == digests[1]
    size = sum(len(data) for data in first.values())
    assert (pulled.total_bytes, pulled.held_bytes) == (size, 0)
    assert pulled.received_bytes == size + _list_bytes(first)
    assert again.received_bytes == 4 * 4096 + 2 * 4096, "four blocks, and the two lists that name them"
    assert again.held_bytes == size - 4 * 4096
    assert [each.received_bytes for each in shown] == sorted(each.received_bytes for each in shown)
    for digest, parts in zip(digests, (first, second), strict=True):
        for name, data in parts.items():
            store.write_part(digest, name, tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == data


def test_after_fifteen_cuts_at_random_bytes_it_is_whole_and_nothing_that_came_was_lost(
    sshd: ThrowawaySshd, place: BackupPlace, tmp_path: Path
) -> None:
    parts = _parts("cuts", 24 * MIB)
    digest = _write(place, 41, parts)
    dice = random.Random(15)  # noqa: S311 - repeatable
    came = cuts = 0
    while True:
        cut_at = dice.randrange(1, MIB // 2) if cuts < 15 else None
        last: list[Pulled] = []

        def note(pulled: Pulled, last: list[Pulled] = last, cut_at: int | None = cut_at) -> None:
            if (
                cut_at is not None
                and pulled.received_bytes >= cut_at
                and not (last and last[-1].received_bytes >= cut_at)
            ):
                sshd.cut()
            last.append(pulled)

        try:
            with _login(sshd) as connection, open_store(tmp_path / "kept", VAULT, "store-1") as store:
                pulled = pull_blocks(connection, 41, digest, store, place=place, on_progress=note)
                assert store.commit(pulled.manifest) == digest
        except SiteUnreachableError:  # costs the site's operation no attempt
            cuts += 1
        else:
            break
        finally:
            came += last[-1].received_bytes if last else 0
    needed = sum(len(data) for data in parts.values()) + _list_bytes(parts)
    assert cuts == 15
    assert came == needed
    with open_store(tmp_path / "kept", VAULT, "store-1") as store:
        store.verify(digest)


def test_a_link_that_falls_silent_is_noticed(sshd: ThrowawaySshd, place: BackupPlace, store: BackupStore) -> None:
    digest = _write(place, 41, _parts("silent", 8 * MIB))
    stopped: list[int] = []

    def stop(pulled: Pulled) -> None:
        if pulled.received_bytes > MIB and not stopped:
            stopped.extend(_descendants(sshd.pid))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    try:
        with _login(sshd) as connection, pytest.raises(SiteUnreachableError) as caught:
            pull_blocks(connection, 41, digest, store, place=place, stall_s=1.0, on_progress=stop)
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert (caught.value.code, caught.value.retry) == ("E-SITE-STALLED", Retry.FREE)
    assert stopped


def _descendants(pid: int) -> list[int]:
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [each for child in children for each in _descendants(child)]


def test_every_flipped_bit_of_a_sample_is_noticed_at_the_pull(
    sshd: ThrowawaySshd, place: BackupPlace, tmp_path: Path
) -> None:
    parts = _parts("bits", 700_001)
    digest = _write(place, 41, parts)
    dice = random.Random(6)  # noqa: S311 - repeatable
    number = 0
    with _login(sshd) as connection:
        for name in ("state.db", "state.db.blocks", "files.tar", "files.tar.blocks", "manifest.json"):
            path = Path(place.backups) / "41" / name
            whole = path.read_bytes()
            for at in (0, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(4))):
                path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
                number += 1
                with (
                    open_store(tmp_path / f"kept-{number}", VAULT, "store-1") as store,
                    pytest.raises(BackupDamagedError) as caught,
                ):
                    pull_blocks(connection, 41, digest, store, place=place)
                assert (caught.value.code, caught.value.retry) == ("E-BACKUP-DAMAGED", Retry.NEVER)
                assert "store-1" in caught.value.message
            path.write_bytes(whole[:-1])
            with (
                open_store(tmp_path / f"short-{number}", VAULT, "store-1") as store,
                pytest.raises(BackupDamagedError),
            ):
                pull_blocks(connection, 41, digest, store, place=place)
            path.write_bytes(whole)


def test_a_window_that_closes_stops_it_and_the_rest_comes_later(
    sshd: ThrowawaySshd, place: BackupPlace, store: BackupStore
) -> None:
    parts = _parts("window")
    digest = _write(place, 41, parts)
    asked = iter(range(1000))
    with _login(sshd) as connection:
        first = pull_blocks(connection, 41, digest, store, place=place, is_open=lambda: next(asked) < 50)
        assert (first.stop, first.manifest) == (Stop.WINDOW, b"")
        canceled = pull_blocks(connection, 41, digest, store, place=place, is_canceled=lambda: True)
        assert (canceled.stop, canceled.received_bytes) == (Stop.CANCELED, 0)
        rest = pull_blocks(connection, 41, digest, store, place=place)
    assert rest.stop is None
    assert first.received_bytes > 40 * 32_768 - 32_768
    assert first.received_bytes + rest.received_bytes == sum(map(len, parts.values())) + _list_bytes(parts)
    assert store.commit(rest.manifest) == digest


def test_a_throttle_holds_the_rate(sshd: ThrowawaySshd, place: BackupPlace, store: BackupStore) -> None:
    digest = _write(place, 41, _parts("slow", 2 * MIB))
    throttle = Throttle([Bucket(2 * MIB, burst_bytes=64 * 1024)])
    with _login(sshd) as connection:
        began = time.monotonic()
        pull_blocks(connection, 41, digest, store, place=place, throttle=throttle)
    assert time.monotonic() - began >= 0.95


def test_a_backup_that_the_node_no_longer_keeps_is_told(
    sshd: ThrowawaySshd, place: BackupPlace, store: BackupStore
) -> None:
    with _login(sshd) as connection, pytest.raises(SiteError, match="attempt 41 any more") as caught:
        pull_blocks(connection, 41, "0" * 64, store, place=place)
    assert caught.value.code == "E-BACKUP-GONE"


def test_an_sshd_without_sftp_is_told(place: BackupPlace, store: BackupStore, tmp_path: Path) -> None:
    digest = _write(place, 41, _parts("a", 4096))
    with (
        running_sshd(tmp_path / "bare") as bare,
        _login(bare) as connection,
        pytest.raises(SiteError) as caught,
    ):
        pull_blocks(connection, 41, digest, store, place=place)
    assert caught.value.code == "E-STAGE-SFTP"


def test_another_login_user_can_read_it_as_long_as_it_is_pulled(place: BackupPlace, tmp_path: Path) -> None:
    _write(place, 41, _parts("a", 4096))
    for each in (tmp_path, *list(tmp_path.parents)[:-2]):
        each.chmod(each.stat().st_mode | 0o011)
    asked = {**place.__dict__, "user": "nobody", "attempt": 41}

    def may_read(path: str) -> bool:
        program = ["/usr/bin/python3", "-c", f"open({path!r}, 'rb').read()"]
        return (
            subprocess.run(program, user="nobody", stderr=subprocess.DEVNULL, check=False, timeout=30).returncode == 0
        )

    inside = f"{place.backups}/41/state.db"
    Path(place.backups).chmod(0o700)
    assert not may_read(inside)
    directory = node_backups.opened(asked)["directory"]
    assert may_read(f"{directory}/state.db")
    assert not may_read(inside)
    node_backups.opened(asked)  # a pull that was cut off is taken back first
    node_backups.closed(asked)
    assert not Path(place.outgoing).exists()
    assert Path(inside).stat().st_uid == 0
    assert pwd.getpwnam("nobody").pw_uid != 0


def _pull_of(sshd: ThrowawaySshd, place: BackupPlace, attempt: int, digest: str) -> Callable[[BackupStore], Pulled]:
    def pull(store: BackupStore) -> Pulled:
        with _login(sshd) as connection:
            return pull_blocks(connection, attempt, digest, store, place=place)

    return pull


@pytest.fixture
def keep(
    database: Database, sshd: ThrowawaySshd, place: BackupPlace, tmp_path: Path
) -> tuple[int, Shelf, Callable[[int, dict[str, bytes], datetime], Kept]]:
    shelf = Shelf(database, VAULT, tmp_path / "kept")
    site_id = add_site(database, "store-1")
    rule = Retention(at_least=2, at_most=3, max_age=timedelta(days=30))

    def one(attempt: int, parts: dict[str, bytes], now: datetime) -> Kept:
        digest = _write(place, attempt, parts)
        pull = _pull_of(sshd, place, attempt, digest)
        return keep_backup(shelf, site_id, "store-1", pull, rule=rule, clock=lambda: now)

    return site_id, shelf, one


def test_backups_are_noted_once_read_back_and_the_older_ones_go_by_the_rule(keep, database: Database) -> None:
    site_id, shelf, one = keep
    parts = _parts("a", MIB)
    kept = [one(10 + day, _changed(parts, day), NOW + timedelta(days=day)) for day in range(5)]
    assert [each.removed for each in kept] == [[], [], [], [10], [11]]
    assert kept[0].added_bytes > MIB
    assert all(each.added_bytes < 40_000 for each in kept[1:])
    with database.read() as session:
        rows = backups.of_site(session, site_id)
        newest = backups.newest(session, [site_id, site_id + 1])
    assert [row.attempt for row in rows] == [14, 13, 12]
    assert rows[0].digest == kept[-1].digest
    assert (rows[0].k3s_version, rows[0].datastore, rows[0].size_bytes) == ("v1.33.5+k3s1", "sqlite", MIB + 20_480)
    assert newest == {site_id: NOW + timedelta(days=4)}
    with open_store(shelf.directory, VAULT, "store-1") as store:
        assert store.roots() == sorted(row.digest for row in rows)
    later = partial(prune, shelf, site_id, "store-1", Retention(1, 3, timedelta(days=1)))
    assert later(clock=lambda: NOW + timedelta(days=400)) == [12, 13]
    assert later(clock=lambda: NOW + timedelta(days=400)) == []


def test_a_backup_that_is_held_stays(keep, database: Database) -> None:
    site_id, _, one = keep
    parts = _parts("a", 100_000)
    one(10, parts, NOW)
    with database.write() as session:
        assert backups.hold(session, site_id, 10, is_held=True)
        assert not backups.hold(session, site_id, 11, is_held=True)
    for day in range(1, 6):
        one(10 + day, _changed(parts, day), NOW + timedelta(days=day))
    with database.read() as session:
        assert [row.attempt for row in backups.of_site(session, site_id)] == [15, 14, 13, 10]


def test_what_is_damaged_here_is_noticed_at_the_pull_and_brought_anew(keep) -> None:
    _, shelf, one = keep
    parts = _parts("a", MIB)
    first = one(10, parts, NOW)
    (segment, *_) = (shelf.directory / "store-1/segments").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-100] + bytes([whole[-100] ^ 4]) + whole[-99:])
    second = one(11, _changed(parts, 3), NOW)
    assert second.damaged == [segment.name]
    assert second.pulled.manifest
    with open_store(shelf.directory, VAULT, "store-1") as store:
        store.verify(second.digest)
        # What has changed since, a block and the list that names it, was brought by nobody: it may be lost.
        with suppress(BackupStoreError):
            store.verify(first.digest)
        assert len(store.missing(_digests_of(parts))) <= 1


def _digests_of(parts: dict[str, bytes]) -> list[bytes]:
    return [digest for name, data in parts.items() for digest in entries(describe(name, data)[1])]


def test_a_database_that_lost_its_notes_gets_them_back_from_the_store(keep, database: Database) -> None:
    site_id, _, one = keep
    parts = _parts("a", 100_000)
    kept = [one(attempt, _changed(parts, attempt), NOW) for attempt in (10, 11)]
    with database.write() as session:
        backups.drop(session, site_id, {10, 11})
    last = one(12, parts, NOW)
    with database.read() as session:
        rows = backups.of_site(session, site_id)
    assert [row.digest for row in rows] == [last.digest, kept[1].digest, kept[0].digest]
