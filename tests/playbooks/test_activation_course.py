"""What comes next, read from the journal alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import activation_course as course
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Hop, Plan
from hypothesis import given
from hypothesis import strategies as st

HOPS = [Hop("v1.33.5+k3s1", "v1.34.1+k3s1", [], None, [], []), Hop("v1.34.1+k3s1", "v1.35.0+k3s1", [], None, [], [])]
VERDICTS = {"accepted", "rolled_back", "needs_hands", "refused"}


def plan(hops: int = 1) -> Plan:
    return Plan(7, "op", "store-1", HOPS[:hops], 180, 300, 600, 1200, [])


class Tale:
    """A journal that is written by hand."""

    def __init__(self, hops: int = 1) -> None:
        self.plan, self.boot, self.up = plan(hops), "a", 50.0
        self.events: list[dict[str, Any]] = []

    def note(self, step: str, event: str, **more: Any) -> None:
        hop = course.hop_at_hand(self.events)
        self.events.append({"hop": hop, "step": step, "event": event, "boot": self.boot, "up": self.up, **more})

    def did(self, *steps: str) -> Tale:
        for step in steps:
            self.note(step, "begins")
            self.note(step, "done")
        return self

    def next(self) -> course.Move:
        move = course.next_move(self.plan, self.events, self.boot, self.up)
        assert move is not None
        return move

    def tell(self, outcomes: list[str]) -> course.Move:
        """Carry out what comes next, each step ending as said (`done`, `failed`, `cut`); well when nothing is said."""
        ends = iter(outcomes)
        for _ in range(200):
            move = self.next()
            if move.step == course.VERDICT:
                return move
            if move.step == course.GIVE_UP:
                self.note(move.step, "done", why=move.why, restores=move.restores)
                continue
            outcome = next(ends, "done")
            self.note(move.step, "begins")
            if outcome == "cut":
                self.note(move.step, "resumed")
            elif outcome == "failed":
                self.note(move.step, "failed", why=move.step + " failed")
            else:
                self.note(move.step, "done")
        pytest.fail(f"no end: {self.events}")


def test_the_steps_follow_each_other_to_the_verdict() -> None:
    tale = Tale()
    assert tale.tell([]).verdict == "accepted"
    begun = [each["step"] for each in tale.events if each["event"] == "begins"]
    assert begun == [*course.BEFORE_SWITCH, *course.FROM_SWITCH]


def test_after_an_interruption_before_the_switch_the_old_version_runs_again_and_all_is_done_anew() -> None:
    tale = Tale().did("lock", "rehash", "note-workloads", "stop")
    tale.note("snapshot", "begins")
    tale.note("snapshot", "resumed")
    assert tale.next().step == "restart-old"
    tale.did("restart-old")
    assert tale.next().step == "lock"
    tale.did("lock", "rehash", "note-workloads", "stop")
    assert tale.next().step == "snapshot"


def test_an_interruption_before_k3s_was_stopped_restarts_nothing() -> None:
    tale = Tale().did("lock", "rehash")
    tale.note("rehash", "resumed")
    assert tale.next().step == "lock"


def test_after_an_interruption_behind_the_switch_it_goes_on() -> None:
    tale = Tale().did(*course.BEFORE_SWITCH, "switch")
    tale.note("place", "begins")
    tale.note("place", "resumed")
    assert tale.next().step == "place"


def test_the_fourth_interruption_is_one_too_many() -> None:
    tale = Tale().did(*course.BEFORE_SWITCH, "switch")
    for _ in range(3):
        tale.note("place", "resumed")
        assert tale.next().step == "place"
    tale.note("place", "resumed")
    move = tale.next()
    assert (move.step, move.why, move.restores) == ("give-up", "it was interrupted 4 times", True)


def test_an_interruption_of_the_way_back_only_repeats_the_step_however_often() -> None:
    tale = Tale().did(*course.BEFORE_SWITCH)
    tale.note("switch", "begins")
    tale.note("switch", "failed", why="no room")
    tale.note("give-up", "done", why="no room", restores=True)
    tale.did("rollback-stop", "kill-containers")
    for _ in range(20):
        tale.note("restore", "begins")
        tale.note("restore", "resumed")
        assert tale.next().step == "restore"
    move = tale.tell([])
    assert (move.verdict, move.why) == ("rolled_back", "no room")


def test_a_failure_before_anything_was_touched_is_a_refusal() -> None:
    tale = Tale()
    move = tale.tell(["done", "failed"])
    assert (move.verdict, move.why) == ("refused", "rehash failed")
    assert "rollback-start" not in [each["step"] for each in tale.events]


def test_a_failure_of_the_snapshot_restores_nothing_and_starts_k3s_again() -> None:
    tale = Tale()
    move = tale.tell(["done"] * 4 + ["failed"])
    assert (move.verdict, move.why) == ("rolled_back", "snapshot failed")
    assert [each["step"] for each in tale.events if each["event"] == "begins"][-2:] == list(course.START_AGAIN)


def test_a_way_back_that_fails_for_good_needs_hands() -> None:
    tale = Tale()
    move = tale.tell(["done"] * 5 + ["failed", "done", "done", "failed", "failed", "failed"])
    assert move.verdict == "needs_hands"
    assert move.why == "switch failed; going back failed at restore: restore failed"


def test_what_is_verified_is_accepted_even_when_the_time_is_over_and_whatever_cuts_it_off() -> None:
    tale = Tale().did(*course.BEFORE_SWITCH, "switch", "place", "start", "verify")
    tale.up += 10**6
    for _ in range(9):
        tale.note("accept", "resumed")
    assert tale.next().step == "accept"
    assert tale.tell([]).verdict == "accepted"


def test_a_hop_begins_with_the_whole_of_its_time() -> None:
    tale = Tale(hops=2).did(*course.BEFORE_SWITCH, "switch", "place", "start", "verify", "accept")
    tale.up += 1190
    move = tale.next()
    assert (move.hop, move.step, move.left_s) == (1, "lock", 1200)


def test_a_chain_ends_at_the_first_hop_that_is_not_accepted() -> None:
    tale = Tale(hops=2)
    move = tale.tell(["done"] * 16 + ["failed"])
    assert (move.hop, move.verdict) == (1, "rolled_back")


@pytest.mark.parametrize("began_up", [30.0, 66000.0])  # of a machine; of a container, whose host was up all along
def test_the_dead_man_s_timer_counts_the_time_that_the_node_was_up_over_all_boots(began_up: float) -> None:
    tale = Tale().did(*course.BEFORE_SWITCH, "switch")
    tale.up = 650.0  # 600 s after the first line
    tale.note("place", "begins")
    tale.boot, tale.up = "b", began_up
    tale.note("place", "resumed")
    assert tale.next().left_s == 1200 - 600
    tale.up = began_up + 590.0
    assert tale.next().step == "place"
    tale.up = began_up + 600.0
    move = tale.next()
    assert (move.step, move.why) == ("give-up", "it was not finished within 1200 s")


def test_a_finished_journal_has_no_next_move() -> None:
    tale = Tale()
    tale.note("verdict", "done", verdict="accepted", why="")
    assert course.next_move(tale.plan, tale.events, "a", 1.0) is None


@given(st.lists(st.sampled_from(["done", "done", "done", "failed", "cut"]), max_size=60), st.integers(1, 2))
def test_whatever_fails_and_whatever_is_cut_off_there_is_an_end(outcomes: list[str], hops: int) -> None:
    tale = Tale(hops)
    move = tale.tell(outcomes)
    begun = [each["step"] for each in tale.events if each["event"] == "begins" and each["hop"] == move.hop]
    done = [each["step"] for each in tale.events if each["event"] == "done" and each["hop"] == move.hop]
    assert move.verdict in VERDICTS
    if move.verdict == "accepted":
        assert "give-up" not in done
    if move.verdict == "refused":
        assert "stop" not in begun
    if move.verdict == "rolled_back":
        assert done[-1] == "rollback-verify"
        assert ("restore" in done) is ("switch" in begun)
    assert bool(move.why) is (move.verdict != "accepted")
