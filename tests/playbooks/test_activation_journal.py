"""The journal: whole lines only, whatever happened while the last one was written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import activation_journal, activation_paths
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_journal import Journal
from tests_support.activation_machine import FakeClock, Machine


@pytest.fixture
def clock(node_root: Path) -> FakeClock:
    return FakeClock(Machine())


def test_an_event_can_be_read_by_the_next_process(clock: FakeClock) -> None:
    Journal(7, clock).note(0, "snapshot", "done", bytes=12)
    (event,) = Journal(7, clock).events
    assert event == {
        "at": "2026-09-21T14:13:20Z", "plan": 7, "hop": 0, "step": "snapshot", "event": "done", "bytes": 12,
        "boot": "boot-1", "up": 100.0,
    }  # fmt: skip
    assert Path(activation_paths.journal()).stat().st_mode & 0o777 == 0o600


def test_a_line_cut_off_anywhere_is_as_if_it_had_not_been_written(clock: FakeClock) -> None:
    first = Journal(7, clock)
    first.note(0, "lock", "begins")
    path = Path(activation_paths.journal())
    whole = path.read_bytes()
    first.note(0, "lock", "done")
    both = path.read_bytes()
    for length in range(len(whole), len(both)):
        for tail in (b"", b"\0" * 40):
            path.write_bytes(both[:length] + tail)
            assert [each["event"] for each in activation_journal.read(7)] == ["begins"], (length, tail)
            journal = Journal(7, clock)
            journal.note(0, "lock", "failed", why="x")
            assert [each["event"] for each in Journal(7, clock).events] == ["begins", "failed"], (length, tail)
            assert path.read_bytes().startswith(whole)
            assert all(json.loads(line) for line in path.read_text().splitlines())


def test_every_event_is_synced_before_the_next_step(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))  # noqa: PTH115
    journal = Journal(7, clock)
    journal.note(0, "lock", "begins")
    assert synced[-2:] == [activation_paths.journal(), activation_paths.directory()]
    journal.note(0, "lock", "done")
    assert synced[-1] == activation_paths.journal()


def test_on_a_full_disk_the_journal_takes_the_room_that_was_kept_for_it(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(7, clock)
    journal.note(0, "lock", "begins")
    reserve = Path(activation_paths.journal_reserve())
    reserve.write_bytes(b"x")
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if reserve.exists():
            real(descriptor, content[:9])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    journal.note(0, "lock", "done")
    assert [each["event"] for each in Journal(7, clock).events] == ["begins", "done"]
    assert not reserve.exists()


def test_the_journal_of_another_plan_is_not_this_one_s(clock: FakeClock) -> None:
    Journal(7, clock).note(0, "lock", "done")
    assert Journal(8, clock).events == []
    assert [each["plan"] for each in activation_journal.read()] == [7]
