"""A paused site: what runs goes on, nothing begins, nothing is lost, and only an operator lets it go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests_support.queue_requests import NOW, add_sites, ask, every_operation, take

from edgemgr.errors import ConflictError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.model.selector_text import parse_filter
from edgemgr.operations import steer
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import events, operations, pauses, queries
from edgemgr.store.claim import anything_ready
from edgemgr.store.database import Database
from edgemgr.store.pauses import Effect

AWAY = AttemptResult(Outcome.UNREACHABLE, message="no answer")
DONE = AttemptResult(Outcome.SUCCEEDED)


def pause(database: Database, sites: list[int], *, dry_run: bool = False) -> Effect:
    with database.write() as session:
        return pauses.pause(session, sites, reason="flood", actor="ann", now=NOW, dry_run=dry_run)


def resume(database: Database, sites: list[int]) -> Effect:
    with database.write() as session:
        return pauses.resume(session, sites, actor="ann", now=NOW)


def waits(database: Database) -> list[tuple[str, str]]:
    return [(operation.state, operation.waiting_for) for operation in every_operation(database)]


def test_nothing_begins_at_a_paused_site_and_all_of_it_goes_on_after_the_resume(database: Database) -> None:
    sites = add_sites(database, 3)
    ask(database, sites)
    ask(database, sites, OperationKind.PROBE)
    effect = pause(database, sites[:2])
    assert effect == Effect(("site-1", "site-2"), unchanged=0, waiting=4, running=0)
    assert [item.operation.site_id for item in take(database)] == sites[2:]
    with database.read() as session:
        assert not anything_ready(session, NOW + timedelta(days=1))
    assert resume(database, sites) == Effect(("site-1", "site-2"), unchanged=1, waiting=4, running=0)
    assert [item.operation.site_id for item in take(database)] == sites[:2]


def test_what_runs_goes_on_and_its_next_try_waits_for_the_resume(database: Database) -> None:
    sites = add_sites(database, 2)
    ask(database, sites)
    first, second = take(database)
    assert pause(database, sites).running == 2
    settle_attempt(database, first.attempt.id or 0, DONE, worker_id="w1", now=NOW)
    settle_attempt(database, second.attempt.id or 0, AWAY, worker_id="w1", now=NOW)
    assert waits(database) == [("succeeded", ""), ("queued", "resume")]
    assert take(database, now=NOW + timedelta(days=1)) == []
    resume(database, sites)
    assert len(take(database)) == 1


def test_what_is_asked_of_a_paused_site_waits_for_the_resume(database: Database) -> None:
    sites = add_sites(database, 1)
    pause(database, sites)
    ask(database, sites)
    assert waits(database) == [("queued", "resume")]
    assert take(database) == []
    resume(database, sites)
    assert len(take(database)) == 1


def test_a_site_that_answers_again_is_not_woken_while_it_is_paused(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    settle_attempt(database, take(database)[0].attempt.id or 0, AWAY, worker_id="w1", now=NOW)
    pause(database, sites)
    with database.write() as session:
        assert operations.wake(session, sites, now=NOW) == 0
    assert waits(database) == [("queued", "resume")]


def test_what_waits_at_a_paused_site_cannot_be_hurried(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    pause(database, sites)
    with pytest.raises(ConflictError, match="site-1 is paused") as caught:
        steer.retry(database, every_operation(database)[0].id or 0, actor="ann")
    assert caught.value.code == "E-OP-PAUSED"
    with database.write() as session:
        operations.hurry(session, [every_operation(database)[0].id or 0], now=NOW)
    assert take(database) == []


def test_a_newer_request_takes_the_place_of_one_that_waits_at_a_paused_site(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    pause(database, sites)
    ask(database, sites)
    assert waits(database) == [("canceled", ""), ("queued", "resume")]


def test_what_passes_its_deadline_meanwhile_expires_and_says_why(database: Database) -> None:
    sites = add_sites(database, 1)
    ask(database, sites)
    pause(database, sites)
    with database.write() as session:
        assert operations.expire(session, now=NOW + timedelta(days=8)) == 1
    assert every_operation(database)[0].message == "the deadline passed: its site was paused"


def test_a_pause_is_an_event_of_each_site_and_is_shown_and_selected(database: Database) -> None:
    sites = add_sites(database, 2)
    pause(database, sites[:1])
    assert pause(database, sites[:1]) == Effect((), unchanged=1, waiting=0, running=0)
    with database.read() as session:
        told = [(event.reason, event.message, event.actor) for event in events.history(session, site_id=sites[0])]
        rows, total = queries.list_sites(session, where=parse_filter("paused=yes"))
        others = queries.site_ids(session, parse_filter("paused=no"))
    assert told == [("SitePaused", "paused: flood", "ann")]
    assert (total, rows[0].paused_at, rows[0].paused_why, others) == (1, NOW, "flood", sites[1:])


def test_a_dry_run_counts_and_changes_nothing(database: Database) -> None:
    sites = add_sites(database, 2)
    ask(database, sites)
    assert pause(database, sites, dry_run=True).waiting == 2
    assert len(take(database)) == 2


def test_pausing_asking_waking_canceling_and_claiming_at_once_end_in_no_deadlock(database: Database) -> None:
    sites = add_sites(database, 40)
    ask(database, sites)
    faults: list[Exception] = []

    def carry() -> None:
        for item in take(database, limit=10):
            settle_attempt(database, item.attempt.id or 0, AWAY, worker_id="w1", now=NOW)

    def wake() -> None:
        with database.write() as session:
            operations.wake(session, sites[::-1], now=NOW)

    def cancel() -> None:
        ids = [operation.id or 0 for operation in every_operation(database) if operation.state == "queued"]
        with database.write() as session:
            operations.cancel(session, ids[::7], actor="ann", now=NOW)

    turns: list[Callable[[], object]] = [
        carry,
        wake,
        cancel,
        lambda: pause(database, sites[10:30]),
        lambda: resume(database, sites[5:35]),
        lambda: ask(database, sites[::2], OperationKind.PROBE),
    ]

    def work(turn: Callable[[], object]) -> None:
        try:
            for _ in range(12):
                turn()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test shows it
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert faults == []
    resume(database, sites)
    waiting = {operation.site_id for operation in every_operation(database) if operation.state == "queued"}
    heads = [operation.site_id for operation in every_operation(database) if operation.is_head]
    assert sorted(heads) == sorted(waiting)
