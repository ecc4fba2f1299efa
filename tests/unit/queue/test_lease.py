from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemgr.queue.lease import Lease, Silence

LEASE_S = 30.0


def listen(silence: Silence, *looks: tuple[float, int]) -> list[set[str]]:
    return [silence.listen({"other": beats}, now) for now, beats in looks]


def test_a_worker_is_given_up_when_it_was_not_heard_for_a_lease() -> None:
    looks = [(100.0 + 2 * n, 7) for n in range(20)]
    verdicts = listen(Silence(LEASE_S), *looks)
    first = next(place for place, verdict in enumerate(verdicts) if verdict)
    assert looks[first][0] - looks[0][0] == LEASE_S


def test_one_beat_makes_the_silence_begin_anew() -> None:
    verdicts = listen(Silence(LEASE_S), *[(2.0 * n, 1 if n < 14 else 2) for n in range(28)])
    assert not any(verdicts)


def test_a_worker_that_is_seen_for_the_first_time_has_a_whole_lease() -> None:
    silence = Silence(LEASE_S)
    for n in range(50):
        silence.listen({}, 2.0 * n)
    assert silence.listen({"new": 0}, 101.0) == set()
    assert silence.listen({"new": 0}, 103.0) == set()


def test_an_observer_that_was_away_for_hours_counts_little_of_it() -> None:
    assert listen(Silence(LEASE_S), (0.0, 3), (2.0, 4), (40_000.0, 4), (40_002.0, 4)) == [set()] * 4


@given(st.lists(st.tuples(st.floats(0.1, 100), st.booleans()), max_size=60))
def test_nobody_is_given_up_who_beats_at_least_every_third_look(steps: list[tuple[float, bool]]) -> None:
    silence, now, beats, missed = Silence(LEASE_S), 0.0, 0, 0
    for passed, is_heard in steps:
        now += passed
        missed = 0 if is_heard or missed == 2 else missed + 1
        beats += missed == 0
        assert silence.listen({"other": beats}, now) == set()


def test_a_worker_doubts_its_lease_before_the_others_do() -> None:
    now = 100.0
    lease = Lease("me", LEASE_S, lambda: now, beaten_at=100.0, held={1: False, 2: True})
    assert [lease.must_stop(number) for number in (1, 2, 3)] == [False, True, True]
    now = 119.0
    assert lease.is_sure()
    now = 121.0
    assert not lease.is_sure()
    assert lease.must_stop(1)


def test_a_worker_that_was_given_up_stops_everything() -> None:
    lease = Lease("me", LEASE_S, lambda: 0.0, beaten_at=0.0, held={1: False}, is_lost=True)
    assert lease.must_stop(1)
