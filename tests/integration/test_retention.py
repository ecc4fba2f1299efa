"""Pruning the history: what goes, what stays, and that it is bounded, on both databases."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, func, select
from tests_support.console_fleet import add_attempt, add_event, add_operation, add_site, write_log
from tests_support.long_history import fill

from edgemgr.model.attempt import Attempt
from edgemgr.model.event import Event, Reason
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.queue import log_sweep, retention
from edgemgr.queue.clock import CALM_S, QueueClock
from edgemgr.queue.retention import Pruned, Retention, plan, prune
from edgemgr.settings import Settings
from edgemgr.store.database import Database
from edgemgr.store.retention import Kept

LAST = datetime(2026, 11, 20, tzinfo=UTC)


def numbers(database: Database) -> list[int]:
    with database.read() as session:
        return [number or 0 for number in session.exec(select(Operation.id).order_by(col(Operation.id)))]


def reasons(database: Database) -> Counter[str]:
    with database.read() as session:
        return Counter(session.exec(select(Event.reason)))


def pruned(database: Database, kept: Kept) -> Pruned:
    return sum(prune(database, kept), Pruned())


def ended(database: Database, site: int, kind: str, days: float, state: str = "succeeded") -> int:
    moment = utc_now() - timedelta(days=days)
    return add_operation(database, site, kind, state, created_at=moment, finished_at=moment)


def days(count: float) -> datetime:
    return utc_now() - timedelta(days=count)


def test_of_each_kind_the_newest_stay_and_a_kind_does_not_push_out_another(database: Database) -> None:
    site = add_site(database, "a")
    upgrade = ended(database, site, "bootstrap", 5, "failed")
    probes = [ended(database, site, "probe", 4) for _ in range(6)]
    other = ended(database, add_site(database, "b"), "probe", 4)
    assert pruned(database, Kept(2, None)).operations == 4
    assert numbers(database) == [upgrade, *probes[-2:], other]


def test_what_is_old_goes_but_never_what_is_open_or_the_newest_of_its_kind(database: Database) -> None:
    site = add_site(database, "a")
    waiting = add_operation(database, site, "reset", created_at=days(200))
    old = [ended(database, site, "verify", 120 - number) for number in range(3)]
    young = ended(database, site, "probe", 1)
    assert pruned(database, Kept(100, days(90))).operations == 2
    assert numbers(database) == [waiting, old[-1], young]


def test_attempts_and_events_go_with_their_operation(database: Database) -> None:
    site = add_site(database, "a")
    gone, stays = ended(database, site, "probe", 3), ended(database, site, "probe", 2)
    for number in (gone, stays):
        add_attempt(database, number, outcome="succeeded")
        add_event(database, site, Reason.OPERATION_SUCCEEDED, "done", operation_id=number)
    assert pruned(database, Kept(1, None)) == Pruned(operations=1, events=1, sites=1)
    with database.read() as session:
        assert session.exec(select(Attempt.operation_id)).all() == [stays]
        assert session.exec(select(Event.operation_id)).all() == [stays]


def test_events_go_by_age_except_those_that_pins_are_judged_by(database: Database) -> None:
    site = add_site(database, "a")
    for reason in (Reason.SITE_CHANGED, Reason.HOST_KEY_PINNED, Reason.HOST_KEY_MISMATCH, Reason.GROUP_CHANGED):
        add_event(database, site, reason, "long ago", at=days(100))
    add_event(database, 4711, Reason.SITE_DELETED, "its site is gone", at=days(100))
    add_event(database, site, Reason.SITE_CHANGED, "lately")
    assert pruned(database, Kept(10, days(90))).events == 3
    assert reasons(database) == {"HostKeyPinned": 1, "HostKeyMismatch": 1, "SiteChanged": 1}


def test_events_of_a_clock_that_stood_a_year_ahead_do_not_keep_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVENTS", 3)
    site = add_site(database, "a")
    for _ in range(4):
        add_event(database, site, Reason.SITE_CHANGED, "wrong clock", at=days(-365))
    add_event(database, site, Reason.SITE_CHANGED, "long ago", at=days(100))
    assert pruned(database, Kept(10, days(90))).events == 1
    assert reasons(database)["SiteChanged"] == 4


def test_what_happens_again_and_again_at_a_site_is_bounded(database: Database) -> None:
    site = add_site(database, "a")
    for number in range(6):
        add_event(database, site, Reason.SITE_LOST_CONTACT if number % 2 else Reason.SITE_BACK, "again")
        add_event(database, site, Reason.OPERATION_QUEUED, "probe was asked for")
        add_event(database, site, Reason.SITE_CHANGED, "by an operator")
    assert pruned(database, Kept(2, None)).events == 6
    assert reasons(database) == {"SiteBack": 2, "SiteLostContact": 2, "OperationQueued": 2, "SiteChanged": 6}


def test_a_dry_run_counts_the_same_and_removes_nothing(database: Database) -> None:
    fill(database, operations=3000, sites=20, last=LAST)
    kept = Kept(10, LAST - timedelta(days=30))
    before = numbers(database)
    planned = sum(plan(database, kept), Pruned())
    assert numbers(database) == before
    assert pruned(database, kept) == planned
    assert planned.operations == len(before) - len(numbers(database)) > 1000


def test_a_second_pass_finds_nothing(database: Database) -> None:
    fill(database, operations=2000, sites=20, last=LAST)
    kept = Kept(5, LAST - timedelta(days=30))
    assert pruned(database, kept).rows > 0
    assert pruned(database, kept).rows == 0


def test_a_pass_that_is_cut_off_leaves_nothing_half_removed(database: Database) -> None:
    fill(database, operations=2000, sites=20, last=LAST)
    steps = prune(database, Kept(3, None))
    for _ in range(5):
        next(steps)
    with database.read() as session:
        orphans = session.exec(
            select(func.count()).select_from(Attempt).outerjoin(Operation).where(col(Operation.id).is_(None))
        ).one()
        events = session.exec(
            select(func.count())
            .select_from(Event)
            .outerjoin(Operation, col(Operation.id) == col(Event.operation_id))
            .where(col(Operation.id).is_(None), col(Event.operation_id).is_not(None))
        ).one()
    assert (orphans, events) == (0, 0)
    pruned(database, Kept(3, None))
    assert len(numbers(database)) < 400


def test_every_transaction_is_small(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, operations=2000, sites=20, last=LAST)
    monkeypatch.setattr(retention, "ROWS", 50)
    assert max(step.operations for step in prune(database, Kept(3, None))) == 50


class Times:
    """A steady clock and a time of day that tests set."""

    def __init__(self) -> None:
        self.steady_s = 1000.0
        self.wall = utc_now()

    def pass_by(self, seconds: float) -> None:
        self.steady_s += seconds
        self.wall += timedelta(seconds=seconds)


def rounds(database: Database, settings: Settings, times: Times) -> tuple[Retention, QueueClock]:
    clock = QueueClock(wall=lambda: times.wall, steady=lambda: times.steady_s)
    keeper = Retention(database, settings, clock)
    keeper._next_at = 0.0
    return keeper, clock


def work_off(keeper: Retention) -> int:
    return sum(keeper.turn() for _ in range(200))


def test_the_queue_prunes_by_age_once_the_time_of_day_is_beyond_doubt(database: Database, settings: Settings) -> None:
    site = add_site(database, "a")
    for age in (200, 100, 1):
        ended(database, site, "probe", age)
    times = Times()
    keeper, clock = rounds(database, settings, times)
    assert work_off(keeper) == 0, "nobody knows yet whether the clock is right"
    times.pass_by(CALM_S + retention.PASS_EVERY_S)
    clock.read()
    assert work_off(keeper) == 2
    assert reasons(database) == {"HistoryPruned": 1}


def test_a_clock_that_jumps_ahead_a_year_costs_no_history(database: Database, settings: Settings) -> None:
    site = add_site(database, "a")
    kept = [ended(database, site, "probe", age) for age in (20, 10)]
    times = Times()
    keeper, clock = rounds(database, settings, times)
    times.pass_by(CALM_S + 1)
    clock.read()
    times.wall += timedelta(days=365)
    clock.read()
    assert work_off(keeper) == 0
    assert numbers(database) == kept


def test_the_queue_tells_of_pruning_once_a_day_and_of_all_that_went(database: Database, settings: Settings) -> None:
    settings = settings.model_copy(update={"history_per_site": 1})
    site = add_site(database, "a")
    times = Times()
    keeper, _ = rounds(database, settings, times)
    for _ in range(3):
        ended(database, site, "probe", 2)
        ended(database, site, "probe", 1)
        assert work_off(keeper) > 0
        times.pass_by(retention.PASS_EVERY_S)
    assert reasons(database)["HistoryPruned"] == 1
    ended(database, site, "probe", 1)
    times.pass_by(86400)
    work_off(keeper)
    with database.read() as session:
        told = session.exec(select(Event.message).where(col(Event.reason) == "HistoryPruned")).all()
    assert [text.split(" and")[0] for text in told] == ["1 operations", "5 operations"]


def test_others_write_while_history_is_pruned(database: Database) -> None:
    fill(database, operations=6000, sites=20, last=LAST)
    waits: list[float] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            begun = time.monotonic()
            with database.write() as session:
                session.get_one(Site, 1).notes = str(begun)
            waits.append(time.monotonic() - begun)
            done.wait(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert pruned(database, Kept(5, None)).operations > 5000
    finally:
        done.set()
        writer.join(timeout=30)
    assert len(waits) > 1, "the writer had its turns in between"
    assert max(waits) < 5


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    path = tmp_path / "logs"
    path.mkdir()
    return path


def log_files(log_dir: Path) -> set[str]:
    return {str(path.relative_to(log_dir)) for path in log_dir.rglob("*") if path.is_file()}


def an_old_log(log_dir: Path, attempt: int, name: str | None = None) -> Path:
    write_log(log_dir, attempt, "text\n")
    path = log_dir / str(attempt // 1000) / f"{attempt}.log"
    if name is not None:
        path = path.rename(path.with_name(name))
    hours_ago = time.time() - 7200
    os.utime(path, (hours_ago, hours_ago))
    return path


def test_logs_follow_their_attempts_and_those_just_written_stay(database: Database, log_dir: Path) -> None:
    site = add_site(database, "a")
    gone, stays = ended(database, site, "verify", 3), ended(database, site, "verify", 2)
    gone_attempt, kept_attempt = (add_attempt(database, number, outcome="succeeded") for number in (gone, stays))
    an_old_log(log_dir, gone_attempt, f"{gone_attempt}.log.zst")
    kept_log = an_old_log(log_dir, kept_attempt)
    an_old_log(log_dir, 5001)
    an_old_log(log_dir, 5002, "5002.log.part")
    write_log(log_dir, 6001, "just begun\n")
    stranger = log_dir / "5" / "notes.txt"
    stranger.write_text("by hand")
    pruned(database, Kept(1, None))
    assert sum(log_sweep.sweep(database, log_dir)) == 3
    assert log_files(log_dir) == {str(kept_log.relative_to(log_dir)), "6/6001.log", "5/notes.txt"}
    stranger.unlink()
    sum(log_sweep.sweep(database, log_dir))
    assert not (log_dir / "5").exists()
    assert (log_dir / "6").exists()


def test_logs_are_swept_a_directory_at_a_time(database: Database, log_dir: Path) -> None:
    for attempt in (1001, 2001, 3001):
        an_old_log(log_dir, attempt)
    sweeper = log_sweep.LogSweep(database, log_dir)
    assert [sweeper.turn() for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_missing_log_directory_is_no_fault(database: Database, log_dir: Path) -> None:
    assert log_sweep.LogSweep(database, log_dir / "none").turn() == 0
