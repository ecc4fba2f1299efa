"""The fence on the node: who may change it, and when."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import fence, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError


class FakeClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_first_attempt_leaves_its_number_behind(node_root: Path) -> None:
    with fence.hold(7, 0):
        assert json.loads(Path(layout.FENCE_RECORD).read_text()) == {"attempt": 7}
    assert Path(layout.FENCE_RECORD).stat().st_mode & 0o777 == 0o600


def test_the_same_attempt_may_come_again(node_root: Path) -> None:
    with fence.hold(7, 0):
        pass
    with fence.hold(7, 0):
        assert fence.recorded_attempt() == 7


def test_an_older_attempt_is_refused_and_changes_nothing(node_root: Path) -> None:
    with fence.hold(8, 0):
        pass
    with pytest.raises(EdgeError, match="attempt 7 was superseded: attempt 8") as caught, fence.hold(7, 0):
        pytest.fail("the older attempt was let in")
    assert (caught.value.code, caught.value.retry) == ("E-FENCE-STALE", "never")
    assert fence.recorded_attempt() == 8


def test_a_newer_attempt_raises_the_number(node_root: Path) -> None:
    for attempt in (7, 9):
        with fence.hold(attempt, 0):
            assert fence.recorded_attempt() == attempt


def test_a_survivor_of_an_older_attempt_is_waited_for_within_bounds(node_root: Path) -> None:
    clock = FakeClock()
    with (
        fence.hold(7, 0),
        pytest.raises(EdgeError, match="another attempt is still at work") as caught,
        fence.hold(8, 60, clock=clock, sleep=clock.sleep),
    ):
        pytest.fail("two at once")
    assert caught.value.code == "E-FENCE-BUSY"
    assert caught.value.retry == "budgeted"
    assert clock.now == pytest.approx(60, abs=1)


def test_the_fence_opens_as_soon_as_the_survivor_ends(node_root: Path) -> None:
    clock = FakeClock()
    survivor = fence.hold(7, 0)
    survivor.__enter__()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 5:
            survivor.__exit__(None, None, None)
            clock.sleep = lambda _: None  # type: ignore[method-assign]

    with fence.hold(8, 60, clock=clock, sleep=sleep):
        assert fence.recorded_attempt() == 8
    assert clock.now < 10


def test_looking_creates_nothing(node_root: Path) -> None:
    fence.look(7, 0)
    assert list(node_root.iterdir()) == []


def test_looking_refuses_a_superseded_attempt_too(node_root: Path) -> None:
    with fence.hold(8, 0):
        pass
    with pytest.raises(EdgeError) as caught:
        fence.look(7, 0)
    assert caught.value.code == "E-FENCE-STALE"


def test_looking_waits_for_whoever_is_at_work(node_root: Path) -> None:
    clock = FakeClock()
    with fence.hold(7, 0), pytest.raises(EdgeError) as caught:
        fence.look(8, 3, clock=clock, sleep=clock.sleep)
    assert caught.value.code == "E-FENCE-BUSY"


@pytest.mark.parametrize("content", ["", "{", '{"attempt": "x"}', "[]", '{"other": 1}'])
def test_a_record_that_cannot_be_read_is_no_permission(node_root: Path, content: str) -> None:
    record = Path(layout.FENCE_RECORD)
    record.parent.mkdir(parents=True)
    record.write_text(content)
    with pytest.raises(EdgeError) as caught:
        fence.look(10**9, 0)
    assert caught.value.code == "E-FENCE-DAMAGED"


def test_a_link_that_somebody_left_as_the_lock_is_put_away(node_root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    lock = Path(layout.LOCK)
    lock.parent.mkdir(parents=True)
    lock.symlink_to(victim)
    with fence.hold(7, 0):
        assert not lock.is_symlink()
    assert victim.read_text() == "keep me"


def test_a_lock_that_others_may_open_is_replaced_by_one_of_our_own(node_root: Path) -> None:
    lock = Path(layout.LOCK)
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    lock.chmod(0o666)
    held = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with fence.hold(7, 0):
            assert lock.stat().st_mode & 0o777 == 0o600
    finally:
        os.close(held)


def test_the_lock_names_its_last_holder(node_root: Path) -> None:
    for attempt in (1007, 8000):
        with fence.hold(attempt, 0):
            holder = json.loads(Path(layout.LOCK).read_text())
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert holder == {"attempt": 8000, "pid": os.getpid(), "started": int(started)}
    assert json.loads(Path(layout.LOCK).read_text()) == holder  # it may still be verifying


def test_who_lives_on_says_so_and_is_not_ended_with_his_attempt(node_root: Path) -> None:
    with fence.hold(8000, 0, lives_on=True):
        assert json.loads(Path(layout.LOCK).read_text())["lives_on"] is True
