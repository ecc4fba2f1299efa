"""Whose turn it is: priorities, fair turns between requests, batches, zones, and what becomes due."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from tests_support.queue_requests import NOW, add_sites, ask, every_operation, take

from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.queue.settle import settle_attempt
from edgemgr.store.claim import Claimed, anything_ready
from edgemgr.store.database import Database

DONE = AttemptResult(Outcome.SUCCEEDED)
AWAY = AttemptResult(Outcome.UNREACHABLE, message="no answer")


def settle(database: Database, claimed: list[Claimed], result: AttemptResult = DONE) -> None:
    for item in claimed:
        settle_attempt(database, item.attempt.id or 0, result, worker_id="w1", now=NOW)


def requests_of(claimed: list[Claimed]) -> list[str]:
    return [item.operation.request for item in claimed]


def test_a_request_of_ten_behind_one_of_thousands_is_among_the_first_served(database: Database) -> None:
    sites = add_sites(database, 2010)
    ask(database, sites[:2000], request="large")
    settle(database, take(database, limit=20))
    running = take(database, limit=50)
    ask(database, sites[2000:], request="small")
    served = take(database, limit=50)
    assert len(running) == len(served) == 50
    assert requests_of(served).count("small") == 10


def test_requests_that_wait_together_are_served_by_turns(database: Database) -> None:
    sites = add_sites(database, 90)
    for number, name in enumerate(["one", "two", "three"]):
        ask(database, sites[number * 30 : number * 30 + 30], request=name)
    served = requests_of(take(database, limit=30))
    assert {name: served.count(name) for name in served} == {"one": 10, "two": 10, "three": 10}


def test_a_claim_for_newcomers_leaves_out_requests_that_are_being_served(database: Database) -> None:
    sites = add_sites(database, 45)
    ask(database, sites[:30], request="large")
    take(database, limit=10)
    assert take(database, newcomers_only=True) == []
    ask(database, sites[30:40], request="small")
    ask(database, sites[40:], request="other", kind=OperationKind.PROBE)
    assert requests_of(take(database, limit=3, newcomers_only=True)) == ["small"] * 3
    assert requests_of(take(database, limit=50, newcomers_only=True)) == ["other"] * 5
    assert len(take(database, limit=50)) == 27


def test_within_a_request_sites_are_served_in_their_order(database: Database) -> None:
    sites = add_sites(database, 20)
    ask(database, sites)
    served = [item.operation.site_id for _ in range(4) for item in take(database, limit=5)]
    assert served == sites


def test_an_operator_who_waits_overtakes_a_rollout_and_that_what_runs_in_the_background(database: Database) -> None:
    sites = add_sites(database, 3)
    ask(database, sites[:1], OperationKind.PROBE, priority=Priority.BACKGROUND)
    ask(database, sites[1:2], OperationKind.BOOTSTRAP, priority=Priority.SCHEDULED)
    ask(database, sites[2:], OperationKind.VERIFY, priority=Priority.INTERACTIVE)
    kinds = [item.operation.kind for _ in range(3) for item in take(database)]
    assert kinds == ["verify", "bootstrap", "probe"]


def test_a_batch_with_room_takes_along_what_is_alike_in_lower_priorities(database: Database) -> None:
    sites = add_sites(database, 3)
    ask(database, sites[:1], priority=Priority.BACKGROUND)
    ask(database, sites[1:2], OperationKind.PROBE, priority=Priority.SCHEDULED)
    ask(database, sites[2:], priority=Priority.INTERACTIVE)
    first = [item.operation.site_id for item in take(database)]
    assert first == [sites[2], sites[0]]


def test_a_site_is_served_first_come_first_served(database: Database) -> None:
    sites = add_sites(database, 5)
    kinds = [OperationKind.VERIFY, OperationKind.BOOTSTRAP, OperationKind.PROBE, OperationKind.RESET]
    for kind in kinds:
        ask(database, sites, kind)
    for kind in kinds:
        claimed = take(database)
        assert [item.operation.kind for item in claimed] == [kind.value] * 5
        settle(database, claimed)
    assert take(database) == []


def test_a_worker_of_a_zone_takes_only_the_sites_of_its_zone(database: Database) -> None:
    emea = add_sites(database, 2, {"zone": "emea"}, name="emea")
    apac = add_sites(database, 2, {"zone": "apac"}, name="apac")
    none = add_sites(database, 2, {"region": "emea"}, name="none")
    ask(database, [*emea, *apac, *none])
    assert [item.operation.site_id for item in take(database, zones=["emea"])] == emea
    assert [item.operation.site_id for item in take(database, zones=["default"])] == none
    assert take(database, zones=["emea", "default"]) == []
    assert [item.operation.site_id for item in take(database)] == apac


def test_what_waits_for_a_moment_is_taken_when_the_moment_has_come_and_not_before(database: Database) -> None:
    ask(database, add_sites(database, 1))
    settle(database, take(database), AWAY)
    (operation,) = every_operation(database)
    early, late = operation.not_before - timedelta(seconds=1), operation.not_before + timedelta(seconds=1)
    with database.read() as session:
        assert not anything_ready(session, early)
        assert anything_ready(session, late)
    assert take(database, now=early) == []
    assert len(take(database, now=late)) == 1


def test_what_is_asked_again_keeps_its_turn(database: Database) -> None:
    sites = add_sites(database, 4)
    ask(database, sites)
    first = take(database, limit=1)
    settle_attempt(database, first[0].attempt.id or 0, AttemptResult(Outcome.LOST), worker_id="w1", now=NOW)
    assert [item.operation.site_id for item in take(database, limit=2)] == sites[:2]


def test_rows_that_differ_in_what_they_carry_are_never_in_one_batch(database: Database) -> None:
    sites = add_sites(database, 6)
    for number, site in enumerate(sites):
        ask(database, [site], key=f"key-{number % 2}")
    batches = [[item.operation.batch_key for item in take(database)] for _ in range(2)]
    assert batches == [["key-0"] * 3, ["key-1"] * 3]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5))
def test_no_request_waits_for_more_of_another_than_it_has_itself(database: Database, sizes: list[int]) -> None:
    with database.write() as session:
        for table in (Attempt, Operation, Site):
            session.execute(delete(table))
    sites = iter(add_sites(database, sum(sizes)))
    for number, size in enumerate(sizes):
        ask(database, list(islice(sites, size)), request=f"r{number}")
    served = [name for _ in range(sum(sizes)) for name in requests_of(take(database, limit=7))]
    for number, size in enumerate(sizes):
        last = max(place for place, name in enumerate(served) if name == f"r{number}")
        assert last < sum(min(size, other) for other in sizes)
