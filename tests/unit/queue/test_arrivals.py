"""Who of a claim is handed on, when, and in which company."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from edgemgr.links.probe_verdict import Probe, ProbeVerdict
from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.operation import Operation
from edgemgr.model.target import Target
from edgemgr.queue import arrivals
from edgemgr.queue.ahead import ALWAYS, GROUP_LEAST, Ahead
from edgemgr.queue.arrivals import Arrivals
from edgemgr.store.addresses import Address
from edgemgr.store.claim import Claimed

GOOD = Probe(ProbeVerdict.REACHABLE, "SSH-2.0-x", 0.0)
DARK = Probe(ProbeVerdict.NO_ANSWER, "nothing came within 10 s", 10.0)
Found = Callable[[tuple[str, int], Probe], None]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def item(number: int, *, spent: int = 0, unreached: int = 0) -> Claimed:
    operation = Operation(id=number, site_id=number, kind="verify", params={}, spent=spent, unreached=unreached)
    return Claimed(operation, Attempt(id=number, operation_id=number, number=1, worker_id="w", batch="b"), f"s{number}")


def at(number: int, **changes: object) -> Address:
    values = {"address": f"192.0.2.{number}", "port": 22, "is_jump": False, "is_pinned": True, "is_awake": False}
    return Address(**{**values, **changes})  # type: ignore[arg-type]


def enter(claimed: Claimed) -> Target:
    return Target(claimed.operation.site_id, claimed.site_name, "a", 22, "root", "key")


class Settled(dict[int, AttemptResult]):
    def __call__(self, attempt_id: int, result: AttemptResult) -> None:
        assert attempt_id not in self
        self[attempt_id] = result


def each(verdict: Callable[[tuple[str, int]], Probe]) -> Callable[[Sequence[tuple[str, int]], Found], None]:
    def tell(doors: Sequence[tuple[str, int]], found: Found) -> None:
        for door in doors:
            found(door, verdict(door))

    return tell


def answers(monkeypatch: pytest.MonkeyPatch, tell: Callable[[Sequence[tuple[str, int]], Found], None]) -> None:
    def probe_many(targets: Sequence[tuple[tuple[str, int], str, int]], timeout_s: float, on_result: Found) -> None:
        tell([door for door, _, _ in targets], on_result)

    monkeypatch.setattr(arrivals, "probe_many", probe_many)
    monkeypatch.setattr(arrivals, "tcp_banner", lambda *_: GOOD)  # of those that had to wait


def numbers(group: list[arrivals.Ready]) -> list[int]:
    return [claimed.operation.site_id for claimed, _ in group]


def test_who_does_not_answer_is_settled_with_the_reason_and_never_entered(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda door: DARK if door[0] == "192.0.2.2" else GOOD))
    settled = Settled()
    groups = list(Arrivals(pool, enter, settled, 10, Ahead(20)).groups([item(1), item(2)], {1: at(1), 2: at(2)}))
    assert [numbers(group) for group in groups] == [[1]]
    result = settled[2]
    assert (result.outcome, result.code) == (Outcome.UNREACHABLE, "E-SITE-NO-ANSWER")
    assert result.message == "s2 could not be reached: 192.0.2.2:22: nothing came within 10 s"


def test_those_that_are_ready_do_not_wait_for_those_that_are_silent(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "ANSWER_GAP_S", 0.05)
    known = threading.Event()

    def tell(doors: Sequence[tuple[str, int]], found: Found) -> None:
        first, second, third = doors
        found(first, GOOD)
        found(second, GOOD)
        known.wait(10)
        found(third, DARK)

    answers(monkeypatch, tell)
    waiting = Arrivals(pool, enter, Settled(), 10, Ahead(20)).groups(
        [item(n) for n in (1, 2, 3)], {n: at(n) for n in (1, 2, 3)}
    )
    start = time.monotonic()
    assert numbers(next(waiting)) == [1, 2]
    assert time.monotonic() - start < 5
    known.set()
    assert list(waiting) == []


def test_behind_one_jump_host_it_is_tried_once_for_all(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, int]] = []

    def tell(doors: Sequence[tuple[str, int]], found: Found) -> None:
        tried.extend(doors)
        for door in doors:
            found(door, DARK)

    answers(monkeypatch, tell)
    jump = at(9, is_jump=True)
    settled = Settled()
    assert list(Arrivals(pool, enter, settled, 10, Ahead(20)).groups([item(1), item(2)], {1: jump, 2: jump})) == []
    assert tried == [("192.0.2.9", 22)]
    assert "the jump host 192.0.2.9:22" in settled[1].message


def test_who_has_only_just_been_heard_is_entered_without_a_look(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _: DARK))
    settled = Settled()
    doors = {1: at(1, is_awake=True), 2: at(2)}
    groups = list(Arrivals(pool, enter, settled, 10, Ahead(20)).groups([item(1), item(2)], doors))
    assert [numbers(group) for group in groups] == [[1]]
    assert list(settled) == [2]


def test_a_site_that_is_not_pinned_is_asked_for_trust_even_if_it_is_dark(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _door: DARK))
    entered: list[str] = []
    settled = Settled()

    def refuse(claimed: Claimed) -> None:
        entered.append(claimed.site_name)

    assert list(Arrivals(pool, refuse, settled, 10, Ahead(20)).groups([item(1)], {1: at(1, is_pinned=False)})) == []
    assert (entered, settled) == (["s1"], {})


def test_who_failed_lately_stands_behind_the_others(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, each(lambda _door: GOOD))
    claimed = [item(1, spent=1), item(2), item(3, unreached=4), item(4)]
    (group,) = Arrivals(pool, enter, Settled(), 10, Ahead(20)).groups(claimed, {n: at(n) for n in range(1, 5)})
    assert numbers(group) == [2, 4, 1, 3]


def test_a_fault_of_the_probe_or_of_the_entering_loses_nobody(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(doors: Sequence[tuple[str, int]], found: Found) -> None:
        found(doors[0], GOOD)
        raise OSError("no file descriptors")

    def enter_some(claimed: Claimed) -> Target:
        if claimed.site_name == "s2":
            raise RuntimeError("unforeseen")
        return enter(claimed)

    answers(monkeypatch, tell)
    groups = list(
        Arrivals(pool, enter_some, Settled(), 10, Ahead(20)).groups([item(n) for n in (1, 2, 3)], {1: at(1), 2: at(2)})
    )
    assert sorted(number for group in groups for number in numbers(group)) == [1, 3]


def test_a_group_goes_as_soon_as_it_has_as_many_as_one_process_is_given(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _door: GOOD))
    claimed = [item(number) for number in range(1, 101)]
    with Ahead(1) as ahead:
        sizes = []
        for group in Arrivals(pool, enter, Settled(), 10, ahead).groups(claimed, {n: at(n) for n in range(1, 101)}):
            sizes.append(len(group))
            ahead.give_back(len(group))
    assert sizes == [40, 40, 20]


def test_a_group_goes_as_soon_as_it_is_enough_and_is_asked_again_while_nobody_comes(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "ENTER_GAP_S", 20.0)
    answers(monkeypatch, each(lambda _door: GOOD))
    go_on, asked = threading.Event(), itertools.count()

    def note(claimed: Claimed) -> Target:
        if claimed.operation.site_id > 10:
            go_on.wait(10)
        return enter(claimed)

    def enough(most: int) -> int:
        return most if next(asked) < 13 else 10

    claimed = [item(number) for number in range(1, 15)]
    groups = Arrivals(pool, note, Settled(), 10, Ahead(20), enough=enough).groups(
        claimed, {n: at(n) for n in range(1, 15)}
    )
    assert len(next(groups)) == 10
    assert next(asked) > 13
    go_on.set()
    assert [len(group) for group in groups] == [4]


def test_nobody_is_entered_while_as_many_wait_for_a_process_as_there_is_room_for(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _door: GOOD))
    entered: list[int] = []

    def note(claimed: Claimed) -> Target:
        entered.append(claimed.operation.site_id)
        return enter(claimed)

    claimed = [item(number) for number in range(1, 71)]
    most = GROUP_LEAST + ALWAYS
    with Ahead(1) as ahead:
        groups = Arrivals(pool, note, Settled(), 10, ahead).groups(claimed, {n: at(n) for n in range(1, 71)})
        assert len(next(groups)) == GROUP_LEAST
        assert len(next(groups)) == ALWAYS
        assert len(entered) == most
        ahead.give_back(most)
        assert (len(next(groups)), len(entered)) == (70 - most, 70)


def test_who_had_to_wait_for_a_place_and_is_silent_by_then_is_settled_and_never_entered(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "STALE_S", 0.0)
    answers(monkeypatch, each(lambda _door: replace(GOOD, elapsed_s=2.0)))
    looks: dict[str, float] = {}

    def look(address: str, port: int, timeout_s: float) -> Probe:
        looks[address] = timeout_s
        return DARK if address == "192.0.2.2" else GOOD

    monkeypatch.setattr(arrivals, "tcp_banner", look)
    settled = Settled()
    doors = {1: at(1), 2: at(2), 3: at(3, is_awake=True), 4: at(4, is_jump=True), 5: at(5, is_pinned=False)}
    groups = Arrivals(pool, enter, settled, 10, Ahead(20)).groups([item(n) for n in doors], doors)
    assert sorted(number for group in groups for number in numbers(group)) == [1, 3, 4, 5]
    assert settled[2].message == "s2 could not be reached: 192.0.2.2:22: nothing came within 10 s"
    assert looks == {"192.0.2.1": 6.0, "192.0.2.2": 6.0, "192.0.2.3": 4.0}, "no longer than a moment ago, times three"


def test_who_has_just_answered_is_not_looked_at_again(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _door: GOOD))
    monkeypatch.setattr(arrivals, "tcp_banner", lambda *_: pytest.fail("a second look"))
    groups = Arrivals(pool, enter, Settled(), 10, Ahead(20)).groups([item(1)], {1: at(1)})
    assert [numbers(group) for group in groups] == [[1]]


def test_a_claim_that_ends_frees_what_it_held_for_the_others() -> None:
    with Ahead(1) as ended:
        for _ in range(ended.group_sites):
            ended.take()
    with Ahead(1) as next_one:
        for _ in range(next_one.group_sites):
            next_one.take()  # waits for ever, were they still held


def test_who_asks_for_a_few_sites_does_not_wait_behind_those_that_have_no_forks_yet() -> None:
    with Ahead(1) as many, Ahead(1) as few:
        for _ in range(GROUP_LEAST + ALWAYS):
            many.take()
        for _ in range(ALWAYS):
            few.take()  # waits for ever, were it not for its own places


def test_who_is_too_many_for_the_forks_that_were_free_comes_with_the_next_group(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, each(lambda _door: GOOD))
    coming = Arrivals(pool, enter, Settled(), 10, Ahead(20))
    groups = coming.groups([item(n) for n in (1, 2, 3)], {n: at(n) for n in (1, 2, 3)})
    group = next(groups)
    coming.shorten(group, 2)
    assert numbers(group) == [1, 2]
    assert [numbers(each) for each in groups] == [[3]]


def test_who_comes_while_a_group_waits_for_a_process_joins_it(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "ANSWER_GAP_S", 0.05)
    go_on, late = threading.Event(), threading.Event()

    def tell(doors: Sequence[tuple[str, int]], found: Found) -> None:
        found(doors[0], GOOD)
        go_on.wait(10)
        found(doors[1], GOOD)

    def note(claimed: Claimed) -> Target:
        if claimed.operation.site_id == 2:
            late.set()
        return enter(claimed)

    answers(monkeypatch, tell)
    with Ahead(20) as ahead:
        coming = Arrivals(pool, note, Settled(), 10, ahead)
        groups = coming.groups([item(1), item(2)], {1: at(1), 2: at(2)})
        group = next(groups)
        assert (numbers(group), coming.join(group)) == ([1], 1)
        go_on.set()
        late.wait(10)
        deadline = time.monotonic() + 10
        while coming.join(group) == 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert numbers(group) == [1, 2]
        assert list(groups) == []
