"""How many sites all Ansible processes work on at once."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from edgemgr.queue.slots import SMALL, Held, Slots


def never() -> bool:
    return False


def at_once() -> bool:
    return True


def test_beside_a_full_process_a_small_one_has_room_and_a_second_full_one_has_not() -> None:
    slots = Slots(20)
    assert slots.take(lambda: 200, never) == 20
    assert slots.take(lambda: 200, at_once) == 0
    assert slots.take(lambda: SMALL, at_once) == SMALL
    assert slots.take(lambda: 1, at_once) == 0


def test_as_many_sites_are_enough_as_there_are_forks_for() -> None:
    slots = Slots(20)
    slots.take(lambda: 1, never)
    assert slots.enough(100) == 12, "one site beside does not count"
    held = Held(slots, slots.take(lambda: 20, never), 20)
    assert slots.enough(100) == 100, "a process would have too few forks"
    held.settled(12)
    assert slots.enough(100) == 15, "the least that one is given is free"
    held.close()
    assert slots.enough(100) == 12


def test_who_is_patient_takes_from_the_reserve_once() -> None:
    slots = Slots(20)
    slots.take(lambda: 200, never)
    assert slots.has_room()
    assert slots.take(lambda: 200, never, patience_s=0) == 20
    assert not slots.has_room()
    assert slots.take(lambda: 200, at_once, patience_s=0) == 0


def test_a_process_that_lingers_for_one_site_gives_the_other_forks_back() -> None:
    slots = Slots(20)
    held = Held(slots, slots.take(lambda: 50, never), 50)
    for _ in range(40):
        held.settled()
    assert slots.take(lambda: 200, at_once) == 19  # 10 forks came back, and there are those of a small process
    held.close()


def test_a_waiting_process_begins_when_there_is_room() -> None:
    slots, taken = Slots(20), []
    held = Held(slots, slots.take(lambda: 20, never), 20)
    thread = threading.Thread(target=lambda: taken.append(slots.take(lambda: 200, never)))
    thread.start()
    held.settled(20)
    held.close()
    thread.join(timeout=5)
    assert taken == [20]


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=8))
def test_everything_comes_back_whatever_was_settled(forks: int, processes: list[tuple[int, int]]) -> None:
    slots = Slots(forks)
    held = []
    for sites, settled in processes:
        count = slots.take(lambda sites=sites: sites, at_once, patience_s=0)
        if count:
            held.append(Held(slots, count, sites))
            for _ in range(min(settled, sites)):
                held[-1].settled()
    for process in held:
        process.close()
    assert slots.take(lambda: SMALL, at_once) == min(SMALL, forks)
    assert slots.take(lambda: forks, at_once) == forks
