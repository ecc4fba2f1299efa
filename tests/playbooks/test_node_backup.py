"""A backup on the node: of one moment though k3s writes, whole or not there, with what belongs to it, newest kept."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    activation_state,
    backup_blocks,
    backup_files,
    backup_place,
    backup_sqlite,
    backup_take,
    layout,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from tests_support import kine_writer
from tests_support.backup_node import VERSION, copied, install, state_db, take, write

from edgemgr.model import backup_manifest


@pytest.fixture
def node(node_root: Path) -> Path:
    install()
    return node_root


@contextmanager
def _write_load() -> Iterator[None]:
    """Another process that writes to the datastore as fast as it can."""
    with subprocess.Popen(
        [sys.executable, kine_writer.__file__, str(state_db())], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield
            assert process.poll() is None, "the writer was disturbed"
        finally:
            process.kill()


def _tally(path: Path) -> tuple[int, int, int, int]:
    """What the datastore counted of its changes, and what is there of them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        told = database.execute("SELECT changes, bytes FROM tally").fetchone()
        found = database.execute("SELECT count(*), sum(length(value)) FROM kine").fetchone()
    return (*told, *found)


def test_a_copy_taken_under_write_load_by_another_process_is_of_one_moment_and_sound(node: Path) -> None:
    seen = []
    with _write_load():
        for attempt in range(1, 9):
            told = take(attempt)
            changes, size, rows, values = _tally(copied(attempt))
            assert (changes, size) == (rows, values)
            assert told["revision"] == rows
            seen.append(rows)
    assert seen == sorted(set(seen)), "the writer went on between the copies"


def test_a_plain_copy_of_the_file_would_have_missed_what_is_in_the_log(node: Path, tmp_path: Path) -> None:
    with closing(kine_writer.connect(str(state_db()))) as database:
        for _ in range(20):
            kine_writer.change(database, random.Random(8))  # noqa: S311 - repeatable
        (tmp_path / "plain").write_bytes(state_db().read_bytes())
        backup_sqlite.copy(str(state_db()), str(tmp_path / "copy"))
    assert _tally(tmp_path / "plain")[0] == 300
    assert _tally(tmp_path / "copy")[0] == 320


def test_a_copy_is_one_file_without_a_log_and_leaves_the_source_alone(node: Path, tmp_path: Path) -> None:
    before = state_db().read_bytes()
    backup_sqlite.copy(str(state_db()), str(tmp_path / "copy"))
    assert backup_sqlite.check(str(tmp_path / "copy")) == 300
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy"]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert state_db().read_bytes() == before


def test_everything_that_a_restore_needs_is_in_it_with_its_hash(node: Path) -> None:
    take(7)
    manifest, digest = backup_place.read_manifest(7)
    assert hashlib.sha256(copied(7, "manifest.json").read_bytes()).hexdigest() == digest
    hashes = {each["name"]: each["sha256"] for each in manifest["files"]}
    with tarfile.open(copied(7, "files.tar")) as archive:
        found = {each.name: each for each in archive}
        content = {name: archive.extractfile(name) for name in hashes}
        read = {name: handle.read() for name, handle in content.items() if handle is not None}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in read.items()} == hashes
    assert set(read) == {
        "server/token",
        "server/tls/server-ca.crt",
        "server/tls/etcd/peer-ca.key",
        "server/cred/encryption-config.json",
        "server/manifests/own.yaml",
        "server/psa.yaml",
        "config/config.yaml",
        "node/password",
        "service/k3s.service",
        "edgemgr/installed.json",
    }
    assert read["server/token"] == b"K10abc::server:secret"
    assert found["server/tls/current.crt"].linkname == "server-ca.crt"
    assert found["server/token"].mode == 0o600
    assert (manifest["k3s_version"], manifest["datastore"], manifest["site"]) == (VERSION, "sqlite", "store-1")


def test_the_appliance_reads_the_manifest_and_cuts_blocks_alike(node: Path) -> None:
    assert backup_blocks.BLOCK_BYTES == backup_manifest.BLOCK_BYTES
    assert backup_blocks.LIST_ENTRIES == backup_manifest.LIST_ENTRIES
    assert backup_blocks.LIST_ENDING == backup_manifest.LIST_ENDING
    take(7)
    manifest = backup_manifest.read_manifest(copied(7, "manifest.json").read_bytes())
    for part in manifest.parts:
        data = copied(7, part.name).read_bytes()
        blocks = [data[at : at + 4096] for at in range(0, len(data), 4096)]
        digests = b"".join(hashlib.sha256(block).digest() for block in blocks)
        assert copied(7, part.name + ".blocks").read_bytes() == digests
        lists = [hashlib.sha256(digests[at : at + 4096]).hexdigest() for at in range(0, len(digests), 4096)]
        assert list(part.lists) == lists
        assert part.block_count == len(blocks)


def test_the_newest_are_kept_by_attempt_and_a_second_run_of_an_attempt_changes_nothing(node: Path) -> None:
    told = [take(attempt) for attempt in (9, 10, 100)]
    assert backup_place.prune(2) == [9]
    assert backup_place.whole() == [10, 100]
    assert take(100) == told[-1]
    assert backup_place.prune(0) == [10], "the newest always stays"


def test_a_backup_that_was_cut_off_anywhere_is_not_there_and_the_next_one_is(node: Path) -> None:
    """Kills a process that takes backups at random moments: what has a name is always right."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent.parent.parent / 'playbooks/collections')!r})\n"
        "from ansible_collections.edgemgr.edge.plugins.module_utils import backup_place, backup_take, layout\n"
        f"for name, value in {_moved()!r}.items(): setattr(layout, name, value)\n"
        "print('begun', flush=True)\n"
        "for attempt in range(int(sys.argv[1]), 10**9):\n"
        "    backup_take.take('store-1', attempt)\n"
        "    backup_place.prune(2)\n"
    )
    dice = random.Random(3)  # noqa: S311 - repeatable
    for number in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(1 + number * 1000)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(dice.random() * 0.3)
            process.send_signal(signal.SIGKILL)
        for attempt in backup_place.whole():
            backup_place.verify(attempt)
    take(10**6)
    assert backup_place.whole()[-1] == 10**6
    assert [path.name for path in Path(backup_place.directory()).iterdir() if path.name.startswith(".")] == []


def _moved() -> dict[str, str]:
    return {name: value for name, value in vars(layout).items() if isinstance(value, str) and not name.startswith("_")}


def test_every_flipped_bit_of_a_sample_is_noticed_where_it_lies(node: Path) -> None:
    take(7)
    dice = random.Random(5)  # noqa: S311 - repeatable
    digest = backup_place.read_manifest(7)[1]
    for name in ("state.db", "state.db.blocks", "files.tar", "files.tar.blocks", "manifest.json"):
        path = copied(7, name)
        whole = path.read_bytes()
        for _ in range(25):
            at, bit = dice.randrange(len(whole)), dice.randrange(8)
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            with pytest.raises(EdgeError) as caught:
                backup_place.verify(7, digest)
            assert caught.value.code == "E-BACKUP-DAMAGED"
        path.write_bytes(whole)
    assert backup_place.verify(7, digest)["attempt"] == 7
    copied(7, "files.tar").unlink()
    with pytest.raises(EdgeError, match=r"files\.tar was changed or is missing"):
        backup_place.verify(7)


def test_a_damaged_datastore_gives_no_backup_and_the_older_ones_stay(node: Path) -> None:
    take(1)
    damaged = bytearray(state_db().read_bytes())
    damaged[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    state_db().write_bytes(damaged)
    with pytest.raises(EdgeError) as caught:
        take(2)
    assert caught.value.code in ("E-BACKUP-INTEGRITY", "E-BACKUP-DATABASE")
    assert backup_place.whole() == [1]
    assert [path.name for path in Path(backup_place.directory()).iterdir()] == ["1"]


def test_a_token_that_is_rotated_meanwhile_makes_the_copy_be_taken_again(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, copy, tries = Path(layout.DATA_DIR) / "server/token", backup_sqlite.copy, []

    def copy_while_rotated(source: str, target: str) -> None:
        copy(source, target)
        tries.append(target)
        if len(tries) == 1:
            token.write_text("K10abc::server:another")

    monkeypatch.setattr(backup_sqlite, "copy", copy_while_rotated)
    take(7)
    assert len(tries) == 2
    with tarfile.open(copied(7, "files.tar")) as archive:
        handle = archive.extractfile("server/token")
        assert handle is not None
        assert handle.read() == b"K10abc::server:another"


def test_files_that_never_hold_still_give_no_backup(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = backup_sqlite.copy

    def copy_while_changed(source: str, target: str) -> None:
        copy(source, target)
        write(Path(layout.CONFIG), f"node-name: {time.monotonic_ns()}\n")

    monkeypatch.setattr(backup_sqlite, "copy", copy_while_changed)
    with pytest.raises(EdgeError) as caught:
        take(7)
    assert caught.value.code == "E-BACKUP-MOVED"
    assert backup_place.whole() == []


def test_a_datastore_that_stays_locked_is_told_and_not_waited_for_without_end(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_sqlite, "_STEP_LOCKED_S", 0.05)
    monkeypatch.setattr(backup_sqlite, "LOCKED_S", 0.2)
    with closing(sqlite3.connect(state_db(), isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EdgeError, match="locked") as caught:
            backup_sqlite.copy(str(state_db()), str(tmp_path / "copy"))
    assert (caught.value.code, caught.value.retry) == ("E-BACKUP-DATABASE", "budgeted")


def test_without_a_token_there_is_no_backup(node: Path) -> None:
    (Path(layout.DATA_DIR) / "server/token").unlink()
    with pytest.raises(EdgeError, match="server/token is missing") as caught:
        backup_files.read_all()
    assert caught.value.code == "E-BACKUP-INCOMPLETE"


def test_a_node_without_a_datastore_is_refused(node_root: Path) -> None:
    with pytest.raises(EdgeError, match="neither SQLite nor etcd") as caught:
        backup_take.datastore()
    assert caught.value.code == "E-BACKUP-DATASTORE"


@pytest.mark.parametrize("sign", ["plan", "hold"])
def test_while_an_upgrade_has_not_ended_no_backup_is_taken(
    node: Path, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation_state, "is_unfinished", lambda: sign == "plan")
    if sign == "hold":
        write(Path(activation_paths.hold()), "")
    with pytest.raises(EdgeError) as caught:
        take(7)
    assert (caught.value.code, caught.value.retry) == ("E-BACKUP-UPGRADE", "budgeted")
    assert backup_place.whole() == []


def test_a_full_disk_is_refused_before_anything_is_written(node: Path) -> None:
    with pytest.raises(EdgeError, match="are to stay free") as caught:
        backup_take.refuse_without_room(1 << 40)
    assert caught.value.code == "E-BACKUP-ROOM"
    assert not Path(backup_place.directory()).exists()
    backup_take.refuse_without_room(0)


def test_secrets_are_for_root_alone(node: Path) -> None:
    take(7)
    for path in [Path(backup_place.directory()), *Path(backup_place.directory()).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert "secret" not in json.dumps(backup_place.read_manifest(7)[0])
