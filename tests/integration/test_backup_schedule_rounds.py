"""Backups by schedules: each profile by its own interval and hours, nobody twice, nobody passed over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select
from tests_support.console_fleet import add_cluster, add_site
from tests_support.queue_requests import every_operation, take

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.backup_schedule import BackupSchedule
from edgemgr.model.operation import Operation, OperationKind, OperationState, Priority
from edgemgr.model.site import Site
from edgemgr.operations.submit import submit
from edgemgr.queue import backup_rounds
from edgemgr.queue.backup_rounds import SPARE_S, ask_for_backups
from edgemgr.queue.settle import settle_attempt
from edgemgr.settings import Settings
from edgemgr.store import backup_schedules, operations, pauses
from edgemgr.store.database import Database

#: Saturday, three in the morning in Berlin, two in London, and Friday evening in New York.
NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
WEEKEND = "sat,sun 01:00-05:00"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def add(database: Database, name: str, profile: str | None = None, **fields: Any) -> int:
    """A site with k3s that was added a week ago."""
    site_id = add_site(database, name, profile=profile, **{"created_at": NOW - 7 * DAY, **fields})
    add_cluster(database, site_id)
    return site_id


def put(database: Database, profile: str, every: timedelta, hours: str | None = None) -> None:
    schedule = BackupSchedule(profile=profile, interval_s=int(every.total_seconds()), hours=hours)
    with database.write() as session:
        backup_schedules.put(session, schedule, actor="test")


def ask(database: Database, settings: Settings, now: datetime) -> list[str]:
    """The sites of which a round asks for a backup, in the order in which they were asked."""
    before = len(every_operation(database))
    number = ask_for_backups(database, settings, now)
    with database.read() as session:
        names = dict(session.exec(select(Site.id, Site.name)).all())
    asked = [names[operation.site_id] for operation in every_operation(database)[before:]]
    assert len(asked) == number
    return asked


def end(database: Database, outcome: Outcome, now: datetime) -> None:
    """Let everything that waits run and end so."""
    for claimed in take(database, now=now):
        settle_attempt(database, claimed.attempt.id or 0, AttemptResult(outcome), worker_id="w1", now=now)


def newest(database: Database, name: str) -> Operation:
    with database.read() as session:
        query = select(Operation).join(Site, col(Site.id) == col(Operation.site_id)).where(Site.name == name)
        return session.exec(query.order_by(col(Operation.id).desc())).first() or pytest.fail(
            f"nothing was asked of {name}"
        )


def test_each_profile_goes_by_its_own_interval_and_the_others_by_the_general_one(
    database: Database, settings: Settings
) -> None:
    for name, profile in (("shop", "shops"), ("mast", "masts"), ("kiosk", "kiosks"), ("none", None), ("lab", "labs")):
        add(database, name, profile)
    put(database, "shops", 6 * HOUR)
    put(database, "masts", 7 * DAY)
    put(database, "kiosks", timedelta())
    asked = {"shop": 0, "mast": 0, "kiosk": 0, "none": 0, "lab": 0}
    for hours in range(0, 14 * 24, 3):
        for name in ask(database, settings, NOW + hours * HOUR):
            asked[name] += 1
        end(database, Outcome.SUCCEEDED, NOW + hours * HOUR)
    assert asked == {"shop": 4 * 14, "mast": 2, "kiosk": 0, "none": 14, "lab": 14}
    with database.read() as session:
        found = session.exec(select(Operation).where(Operation.kind == OperationKind.BACKUP.value)).all()
    assert {(each.actor, each.priority) for each in found} == {("schedule", Priority.BACKGROUND)}


def test_a_profile_has_backups_though_the_general_setting_takes_none(database: Database, settings: Settings) -> None:
    add(database, "shop", "shops")
    add(database, "none")
    put(database, "shops", 6 * HOUR)
    assert ask(database, settings.model_copy(update={"backup_interval_s": 0.0}), NOW) == ["shop"]


def test_a_profile_without_its_schedule_goes_by_the_general_one_again(database: Database, settings: Settings) -> None:
    add(database, "shop", "shops")
    put(database, "shops", timedelta())
    assert ask(database, settings, NOW) == []
    with database.write() as session:
        backup_schedules.remove(session, "shops", actor="test")
    assert ask(database, settings, NOW) == ["shop"]


def test_within_hours_a_site_is_asked_by_its_own_clock_and_what_was_asked_ends_with_them(
    database: Database, settings: Settings
) -> None:
    for name, zone in (("berlin", "Europe/Berlin"), ("london", "Europe/London"), ("york", "America/New_York")):
        add(database, name, "shops", timezone=zone)
    add(database, "utc", "shops")
    add(database, "any", timezone="America/New_York")
    put(database, "shops", 6 * HOUR, WEEKEND)
    assert sorted(ask(database, settings, NOW)) == ["any", "berlin", "london", "utc"]
    assert newest(database, "berlin").deadline_at == NOW + 2 * HOUR
    assert newest(database, "london").deadline_at == NOW + 3 * HOUR
    assert newest(database, "utc").deadline_at == NOW + 3 * HOUR
    assert newest(database, "any").deadline_at == NOW + DAY
    assert ask(database, settings, NOW + 5 * HOUR) == ["york"]


def test_shortly_before_the_hours_end_none_is_asked_for_any_more(database: Database, settings: Settings) -> None:
    add(database, "shop", "shops")
    put(database, "shops", 6 * HOUR, WEEKEND)
    ends = NOW + 3 * HOUR
    assert ask(database, settings, ends - timedelta(seconds=SPARE_S)) == []
    assert ask(database, settings, ends - timedelta(seconds=SPARE_S + 1)) == ["shop"]


def test_one_whose_turn_did_not_come_within_the_hours_is_asked_for_as_soon_as_they_come_again(
    database: Database, settings: Settings
) -> None:
    add(database, "shop", "shops")
    put(database, "shops", 30 * HOUR, WEEKEND)
    late = NOW + 2.5 * HOUR
    assert ask(database, settings, late) == ["shop"]
    with database.write() as session:
        assert operations.expire(session, now=NOW + 3 * HOUR) == 1
    assert ask(database, settings, NOW + 4 * HOUR) == []
    assert ask(database, settings, NOW + 23 * HOUR) == ["shop"], "on Sunday at one, not a week later"


def test_one_that_failed_is_not_asked_for_before_the_next_is_due(database: Database, settings: Settings) -> None:
    add(database, "shop", "shops")
    put(database, "shops", 6 * HOUR)
    ask(database, settings, NOW)
    end(database, Outcome.REFUSED, NOW)
    assert newest(database, "shop").state == OperationState.FAILED.value
    assert ask(database, settings, NOW + 5 * HOUR) == []
    assert ask(database, settings, NOW + 6 * HOUR) == ["shop"]


def test_one_that_waits_or_runs_is_not_asked_for_anew(database: Database, settings: Settings) -> None:
    for name in ("waits", "runs"):
        add(database, name, "shops")
    put(database, "shops", HOUR)
    assert ask(database, settings, NOW) == ["waits", "runs"]
    with database.write() as session:
        session.get_one(Operation, newest(database, "waits").id).not_before = NOW + DAY
        session.get_one(Operation, newest(database, "waits").id).waiting_for = "backoff"
    assert [claimed.site_name for claimed in take(database, now=NOW)] == ["runs"]
    assert ask(database, settings, NOW + 2 * HOUR) == []
    assert [each.state for each in every_operation(database)] == ["queued", "running"]


def test_a_paused_site_is_asked_when_it_goes_on(database: Database, settings: Settings) -> None:
    site = add(database, "shop", "shops")
    put(database, "shops", 6 * HOUR)
    with database.write() as session:
        pauses.pause(session, [site], reason="flood", actor="ann", now=NOW)
    assert ask(database, settings, NOW + DAY) == []
    with database.write() as session:
        pauses.resume(session, [site], actor="ann", now=NOW)
    assert ask(database, settings, NOW + DAY) == ["shop"]


def test_where_more_are_due_than_a_round_takes_those_come_first_that_have_waited_longest(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_rounds, "LIMIT", 2)
    for number, name in enumerate("abcdefgh"):
        add(database, name, ("shops", None)[number % 2])
    put(database, "shops", timedelta(minutes=15))
    often = settings.model_copy(update={"backup_interval_s": 900.0})
    rounds = []
    for number in range(12):
        now = NOW + number * timedelta(minutes=15)
        rounds.append(ask(database, often, now))
        end(database, Outcome.SUCCEEDED, now)
    assert all(len(asked) == 2 for asked in rounds)
    assert set().union(*rounds[:4]) == set("abcdefgh"), rounds
    assert min(sum(name in asked for asked in rounds) for name in "abcdefgh") >= 2, rounds


@pytest.fixture
def other(database: Database) -> Iterator[Database]:
    """The same database, as another worker's process has it."""
    opened = Database(database.url.render_as_string(hide_password=False))
    yield opened
    opened.close()


def test_the_first_workers_of_two_zones_that_look_at_the_same_moment_ask_once(
    database: Database, other: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks while the first has found its sites and not yet committed."""
    for number in range(3):
        add(database, f"shop-{number}", "shops", labels={"zone": f"z{number}"})
    put(database, "shops", 6 * HOUR)
    numbers: list[int] = []
    second = threading.Thread(target=lambda: numbers.append(ask_for_backups(other, settings, NOW)))
    waited: list[bool] = []

    def submit_slowly(*args: Any, **kwargs: Any) -> object:
        if threading.current_thread() is not second:
            second.start()
            second.join(0.5)
            waited.append(second.is_alive())
        return submit(*args, **kwargs)

    monkeypatch.setattr(backup_rounds, "submit", submit_slowly)
    numbers.append(ask_for_backups(database, settings, NOW))
    second.join(30)
    assert waited == [True], "it waits for the first one's end"
    assert sorted(numbers) == [0, 3]
    assert [operation.state for operation in every_operation(database)] == ["queued"] * 3


def test_hours_that_somebody_broke_in_the_database_ask_for_nothing_and_say_so_in_the_log(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "shop", "shops")
    add(database, "none")
    put(database, "shops", 6 * HOUR, "at night")
    assert ask(database, settings, NOW) == ["none"]
    assert "the backup schedule of profile shops: 'at night' is no window" in caplog.text
