"""What may begin under limits: the rule by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.room import Candidate, Room

KINDS = st.sampled_from(["bootstrap", "verify"])
VALUES = st.sampled_from(["a", "b", "c"])
LABELS = st.fixed_dictionaries({}, optional={"vpn": VALUES, "region": VALUES})
LIMITS = st.dictionaries(
    st.sampled_from(
        ["all", "kind:bootstrap", "kind:verify", "label:vpn", "label:vpn=a", "label:vpn=b", "label:region=c"]
    ),
    st.integers(1, 4),
)
PAIRS = st.lists(st.tuples(KINDS, LABELS), max_size=30)


def line(pairs: Sequence[tuple[str, dict[str, str]]]) -> list[Candidate]:
    return [Candidate(number, kind, labels) for number, (kind, labels) in enumerate(pairs)]


def counted(candidates: Sequence[Candidate], picked: Sequence[int]) -> Counter[str]:
    """How many of these would run in each part, counted without the rule that is tested."""
    found: Counter[str] = Counter()
    for candidate in candidates:
        if candidate.operation_id in picked:
            found["all"] += 1
            found[f"kind:{candidate.kind}"] += 1
            found.update(f"label:{key}={value}" for key, value in candidate.labels.items())
    return found


def most_of(limits: dict[str, int], bucket: str, max_running: int) -> int:
    """What the operator's limits mean for one part, written a second time."""
    if bucket == "all":
        return limits.get("all", max_running)
    return limits.get(bucket, limits.get(bucket.split("=", maxsplit=1)[0], 1000) if "=" in bucket else 1000)


@given(LIMITS, PAIRS, st.integers(1, 20), st.integers(0, 30))
def test_no_limit_is_ever_exceeded(
    limits: dict[str, int], pairs: list[tuple[str, dict[str, str]]], max_running: int, limit: int
) -> None:
    candidates = line(pairs)
    picked = Room(limits, max_running=max_running).pick(candidates, limit)
    assert len(picked) <= limit
    for bucket, number in counted(candidates, picked).items():
        assert number <= most_of(limits, bucket, max_running)


@given(LIMITS, PAIRS)
def test_whatever_is_passed_over_has_a_part_that_is_full_and_the_order_is_kept(
    limits: dict[str, int], pairs: list[tuple[str, dict[str, str]]]
) -> None:
    candidates = line(pairs)
    picked = Room(limits, max_running=100).pick(candidates, 100)
    assert picked == sorted(picked)
    for candidate in candidates:
        if candidate.operation_id not in picked:
            before = counted(candidates, [number for number in picked if number < candidate.operation_id])
            its_own = counted([candidate], [candidate.operation_id])
            assert any(before[bucket] >= most_of(limits, bucket, 100) for bucket in its_own)


@given(LIMITS, PAIRS)
def test_after_a_pick_exactly_the_full_parts_are_named_full(
    limits: dict[str, int], pairs: list[tuple[str, dict[str, str]]]
) -> None:
    candidates = line(pairs)
    room = Room(limits, max_running=100)
    used = counted(candidates, room.pick(candidates, 100))
    expected = {bucket for bucket, number in used.items() if number >= most_of(limits, bucket, 100)}
    assert {str(scope) for scope in room.full} == expected


def test_the_limit_of_one_value_takes_the_place_of_that_of_every_value() -> None:
    room = Room({"label:vpn": 1, "label:vpn=wide": 3}, max_running=100)
    wide = [Candidate(number, "verify", {"vpn": "wide"}) for number in range(5)]
    narrow = [Candidate(number, "verify", {"vpn": "narrow"}) for number in range(5, 10)]
    assert room.pick([*wide, *narrow], 100) == [0, 1, 2, 5]


def test_what_runs_already_is_counted() -> None:
    room = Room({"kind:verify": 2}, max_running=100)
    room.take("kind:verify")
    assert room.pick([Candidate(1, "verify"), Candidate(2, "verify"), Candidate(3, "probe")], 100) == [1, 3]
