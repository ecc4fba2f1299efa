"""What the program ends that is sent to a node, with processes of this machine in the place of the node's."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemgr.links import end_on_node


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child in its session."""
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    deadline = time.monotonic() + 5
    while len(end_on_node.family(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait(timeout=5)


def name_holder(lock: Path, pid: int, attempt: int, *, later: int = 0, lives_on: bool = False) -> None:
    stat = end_on_node.stat_of(pid)
    assert stat is not None
    named = {"attempt": attempt, "pid": pid, "started": stat["started"] + later, "lives_on": lives_on}
    lock.write_text(json.dumps(named))


def recorded(record: Path) -> int:
    return int(json.loads(record.read_text())["attempt"])


@pytest.mark.parametrize("attempt", [41, 42])
def test_the_holder_of_this_attempt_or_an_older_one_is_ended_with_its_children(
    tmp_path: Path, worker: subprocess.Popen[bytes], attempt: int
) -> None:
    lock, record = tmp_path / "lock", tmp_path / "state" / "fence.json"
    name_holder(lock, worker.pid, attempt)
    members = end_on_node.family(worker.pid)
    assert end_on_node.main(str(lock), str(record), 42) == len(members) == 2
    assert worker.wait(timeout=5) < 0
    assert recorded(record) == 43
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_newer_attempt_is_left_alone(tmp_path: Path, worker: subprocess.Popen[bytes]) -> None:
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    name_holder(lock, worker.pid, 43)
    record.write_text('{"attempt": 43}')
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert end_on_node.main(str(lock), str(record), 42) == 0
    assert worker.poll() is None
    assert recorded(record) == 43


def test_an_upgrade_that_was_begun_lives_on_when_its_attempt_is_over(
    tmp_path: Path, worker: subprocess.Popen[bytes]
) -> None:
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    name_holder(lock, worker.pid, 42, lives_on=True)
    record.write_text('{"attempt": 42}')
    began = time.monotonic()
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert end_on_node.main(str(lock), str(record), 42) == 0
    assert time.monotonic() - began < end_on_node.WITHIN_S, "nobody waits for it"
    assert worker.poll() is None
    assert recorded(record) == 42


def test_a_later_process_of_the_same_number_is_left_alone(tmp_path: Path, worker: subprocess.Popen[bytes]) -> None:
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    name_holder(lock, worker.pid, 42, later=1)
    assert end_on_node.main(str(lock), str(record), 42) == 0
    assert worker.poll() is None


def test_the_record_never_falls(tmp_path: Path) -> None:
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    record.write_text('{"attempt": 99}')
    assert end_on_node.main(str(lock), str(record), 42) == 0
    assert recorded(record) == 99


def test_a_lock_that_a_stranger_keeps_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_on_node, "WITHIN_S", 0.3)
    lock, record = tmp_path / "lock", tmp_path / "fence.json"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert end_on_node.main(str(lock), str(record), 42) == -1
    assert not record.exists()


@pytest.mark.parametrize("text", ["", "nothing", "[]", '{"pid": 1}', '{"attempt": "x", "pid": 1, "started": 0}'])
def test_a_lock_file_that_names_nobody_ends_nobody(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(text)
    assert end_on_node.end(str(lock), os.getpid()) == 0
