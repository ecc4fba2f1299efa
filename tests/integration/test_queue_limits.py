"""Limits hold exactly, however many workers claim, and cost nothing to what they do not concern."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from tests_support.queue_requests import NOW, add_sites, ask, set_limit, take

from edgemgr.errors import NotFoundError, UsageError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.model.scope import Scope
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import events, limits
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database

DONE = AttemptResult(Outcome.SUCCEEDED)


def sites_of(claimed: list[Claimed]) -> list[int]:
    return [item.operation.site_id for item in claimed]


def test_the_setting_limits_the_whole_appliance_until_a_limit_takes_its_place(database: Database) -> None:
    ask(database, add_sites(database, 10))
    assert len(take(database, max_running=3)) == 3
    assert take(database, max_running=3) == []
    set_limit(database, "all", 5)
    assert len(take(database, max_running=3)) == 2


def test_a_kind_that_is_full_lets_other_kinds_pass(database: Database) -> None:
    sites = add_sites(database, 6)
    ask(database, sites[:4], OperationKind.BOOTSTRAP)
    ask(database, sites[4:], OperationKind.VERIFY)
    set_limit(database, "kind:bootstrap", 2)
    assert sites_of(take(database)) == sites[:2]
    assert sites_of(take(database)) == sites[4:]
    assert take(database) == []


def test_at_most_so_many_at_once_behind_one_link(database: Database) -> None:
    behind = add_sites(database, 5, {"vpn": "lte-7"}, name="lte")
    others = add_sites(database, 2, {"vpn": "fibre"}, name="fibre")
    ask(database, [*behind, *others])
    set_limit(database, "label:vpn=lte-7", 3)
    first = take(database)
    assert sites_of(first) == [*behind[:3], *others]
    assert take(database) == []
    settle_attempt(database, first[0].attempt.id or 0, DONE, worker_id="w1", now=NOW)
    assert sites_of(take(database)) == behind[3:4]


def test_a_limit_of_a_label_counts_each_value_by_itself(database: Database) -> None:
    groups = [add_sites(database, 3, {"vpn": name}, name=name) for name in ("a", "b", "c")]
    free = add_sites(database, 2, name="free")
    ask(database, [*groups[0], *groups[1], *groups[2], *free])
    set_limit(database, "label:vpn", 1)
    set_limit(database, "label:vpn=c", 2)
    assert sites_of(take(database)) == [groups[0][0], groups[1][0], *groups[2][:2], *free]


def test_what_fits_is_found_behind_a_thousand_that_do_not(database: Database) -> None:
    held = add_sites(database, 2500, {"vpn": "lte-7"}, name="held")
    free = add_sites(database, 3, name="free")
    ask(database, [*held, *free])
    set_limit(database, "label:vpn=lte-7", 1)
    assert sites_of(take(database)) == [held[0], *free]


def test_a_limit_that_is_lowered_lets_what_runs_go_on_and_begins_nothing_more(database: Database) -> None:
    ask(database, add_sites(database, 6))
    first = take(database, limit=4)
    set_limit(database, "kind:verify", 2)
    assert take(database) == []
    for item in first[:3]:
        settle_attempt(database, item.attempt.id or 0, DONE, worker_id="w1", now=NOW)
    assert len(take(database)) == 1


def test_several_workers_that_claim_and_settle_at_once_never_exceed_any_limit(database: Database) -> None:
    groups = {name: add_sites(database, 20, {"vpn": name}, name=name) for name in ("a", "b", "c")}
    ask(database, [site for group in groups.values() for site in group])
    set_limit(database, "label:vpn", 2)
    set_limit(database, "label:vpn=c", 3)
    set_limit(database, "all", 6)
    group_of = {site: name for name, group in groups.items() for site in group}
    running: Counter[str] = Counter()
    seen: list[Counter[str]] = []
    ended: list[int] = []
    lock = threading.Lock()

    def work(worker: str) -> None:
        for _ in range(300):
            claimed = take(database, worker, limit=3)
            with lock:
                running.update(group_of[site] for site in sites_of(claimed))
                seen.append(running.copy())
                if len(ended) == len(group_of):
                    return
            for item in claimed:
                with lock:  # counted as ended before it is: the count is never too high
                    running[group_of[item.operation.site_id]] -= 1
                    ended.append(item.operation.site_id)
                settle_attempt(database, item.attempt.id or 0, DONE, worker_id=worker, now=NOW)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(ended) == sorted(group_of)
    for moment in seen:
        assert moment["a"] <= 2
        assert moment["b"] <= 2
        assert moment["c"] <= 3
        assert moment.total() <= 6


def test_a_change_of_a_limit_is_an_event_and_a_wrong_one_is_refused(database: Database) -> None:
    scope = Scope.parse("label:vpn")
    set_limit(database, "label:vpn", 3)
    set_limit(database, "label:vpn", 4)
    with database.write() as session:
        limits.remove(session, scope, actor="ann")
    with database.read() as session:
        told = [event.message for event in events.history(session)]
        assert limits.every(session) == []
    assert told == ["limit label:vpn: taken away, it was 4", "limit label:vpn: 4 instead of 3", "limit label:vpn: 3"]
    with pytest.raises(NotFoundError), database.write() as session:
        limits.remove(session, scope, actor="ann")
    with pytest.raises(UsageError), database.write() as session:
        limits.put(session, scope, 0, actor="ann")
