"""The state of a cluster: copied whole or not at all, put back from a whole copy or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths, activation_snapshot, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from tests_support import kine_writer

TLS_TIME = 1_600_000_000


@pytest.fixture
def server(node_root: Path) -> Path:
    """What belongs to a cluster, with a datastore that a process writes to until it is killed."""
    directory = Path(layout.DATA_DIR) / "server"
    for name, text in (
        ("token", "K10one"),
        ("tls/server-ca.crt", "one"),
        ("cred/passwd", "one"),
        ("manifests/a.yaml", "one"),
    ):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / "tls").chmod(0o700)
    os.utime(directory / "tls/server-ca.crt", (TLS_TIME, TLS_TIME))
    (directory / "db").mkdir()
    Path(layout.CONFIG_DIR).mkdir(parents=True)
    Path(layout.CONFIG).write_text("one")
    return directory


@pytest.fixture
def killed_writer(server: Path) -> Iterator[Path]:
    """A k3s that was cut off while it was writing: the write-ahead log is full of what was acknowledged."""
    path = server / "db/state.db"
    writer = subprocess.Popen([sys.executable, kine_writer.__file__, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        deadline = time.monotonic() + 20
        while changes(path) < 300:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    yield path
    assert path.exists()


def changes(path: Path) -> int:
    """How many changes there are, after looking whether they fit together."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")  # one moment for both questions
        try:
            told, length = database.execute("SELECT changes, bytes FROM tally").fetchone()
            found = database.execute("SELECT count(*), coalesce(sum(length(value)), 0) FROM kine").fetchone()
        except (sqlite3.OperationalError, TypeError):
            return 0
    assert (told, length) == found
    return int(told)


def place() -> str:
    return activation_paths.snapshot(7, 0)


def test_a_datastore_that_was_being_written_is_copied_whole_and_without_a_log(killed_writer: Path) -> None:
    assert killed_writer.with_name("state.db-wal").stat().st_size > 0
    size_bytes = activation_snapshot.take(place(), {"link": "x"})
    copied = Path(place()) / "db/state.db"
    assert [path.name for path in copied.parent.iterdir()] == ["state.db"]
    assert size_bytes >= copied.stat().st_size
    assert changes(copied) == changes(killed_writer) >= 300
    assert activation_snapshot.facts(place()) == {"link": "x"}


def test_going_back_brings_everything_as_it_was_and_keeps_what_was_there(server: Path, killed_writer: Path) -> None:
    activation_snapshot.take(place(), {})
    before = changes(Path(place()) / "db/state.db")
    with contextlib.closing(sqlite3.connect(killed_writer, isolation_level=None)) as database:
        database.execute("DELETE FROM kine")
        database.execute("UPDATE tally SET changes = 0")
    for name in ("token", "tls/server-ca.crt", "tls/new.crt", "manifests/new.yaml"):
        (server / name).write_text("two")
    Path(layout.CONFIG).write_text("two")
    activation_snapshot.restore(place(), "7-0")
    assert changes(server / "db/state.db") == before
    assert [path.name for path in (server / "manifests").iterdir()] == ["a.yaml"]
    assert not (server / "tls/new.crt").exists()
    assert ((server / "token").read_text(), Path(layout.CONFIG).read_text()) == ("K10one", "one")
    assert (server / "tls/server-ca.crt").stat().st_mtime == TLS_TIME
    assert (server / "tls").stat().st_mode & 0o777 == 0o700
    assert (server / ".token.edgemgr-new-state-7-0").read_text() == "two"
    assert (server / ".tls.edgemgr-new-state-7-0/new.crt").read_text() == "two"
    activation_snapshot.drop_evidence()
    assert not list(server.glob(".*"))


def test_a_damaged_copy_is_never_put_back(server: Path, killed_writer: Path) -> None:
    activation_snapshot.take(place(), {})
    copied = Path(place()) / "db/state.db"
    content = bytearray(copied.read_bytes())
    content[5000] ^= 1
    copied.write_bytes(content)
    (server / "token").write_text("two")
    with pytest.raises(EdgeError, match="is damaged") as caught:
        activation_snapshot.restore(place(), "7-0")
    assert caught.value.code == "E-UPGRADE-SNAPSHOT"
    assert (server / "token").read_text() == "two"


def test_a_copy_that_was_cut_off_is_none(server: Path, killed_writer: Path) -> None:
    activation_snapshot.take(place(), {})
    (Path(place()) / activation_snapshot.RECORD).unlink()
    with pytest.raises(EdgeError, match="no whole snapshot"):
        activation_snapshot.restore(place(), "7-0")
    activation_snapshot.drop_unfinished(place())
    assert not Path(place()).exists()


def test_a_damaged_datastore_is_found_before_anything_is_changed(killed_writer: Path) -> None:
    with contextlib.closing(sqlite3.connect(killed_writer, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = bytearray(killed_writer.read_bytes())
    content[4096:12288] = os.urandom(8192)
    killed_writer.write_bytes(content)
    with pytest.raises(EdgeError, match="SQLite finds the datastore damaged") as caught:
        activation_snapshot.take(place(), {})
    assert caught.value.code == "E-UPGRADE-DATASTORE"


def test_a_cluster_on_etcd_is_copied_as_its_directory(server: Path) -> None:
    member = server / "db/etcd/member/snap"
    member.mkdir(parents=True)
    (member / "db").write_bytes(b"bolt")
    activation_snapshot.take(place(), {})
    (member / "db").write_bytes(b"newer")
    activation_snapshot.restore(place(), "7-0")
    assert (member / "db").read_bytes() == b"bolt"


def test_without_a_datastore_there_is_nothing_to_go_back_to(server: Path) -> None:
    with pytest.raises(EdgeError, match="no datastore"):
        activation_snapshot.take(place(), {})


def test_on_a_full_disk_what_was_new_makes_room_for_what_was_old(
    server: Path, killed_writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activation_snapshot.take(place(), {})
    (server / "db/huge").write_bytes(b"x" * 100)
    real = shutil.copyfile

    def copyfile(source: str, target: str) -> None:
        if any(server.rglob("huge")):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    activation_snapshot.restore(place(), "7-0")
    assert changes(server / "db/state.db") >= 300
    assert not list(server.glob(".*"))


def test_a_link_to_elsewhere_is_named_before_anything_is_done(server: Path, tmp_path: Path) -> None:
    assert activation_snapshot.unmovable() == []
    (server / "db").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (server / "db").symlink_to(tmp_path / "elsewhere")
    assert activation_snapshot.unmovable() == [str(server / "db")]
