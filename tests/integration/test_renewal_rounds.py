"""Certificates that are due are renewed in the hours that were set, by each site's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from edgemgr.cli.doctor import _renewals
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.queue import renewal_rounds
from edgemgr.queue.hours import open_for_s
from edgemgr.queue.renewal_rounds import ask_for_renewals
from edgemgr.settings import Settings
from edgemgr.store.database import Database

#: Saturday, three in the morning in Berlin, two in London, and Friday evening in New York.
NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
HOURS = "sat,sun 01:00-05:00"


def add(
    database: Database, name: str, leaf_days: float | None, *, zone: str | None = "Europe/Berlin", **changes: Any
) -> None:
    with database.write() as session:
        site = Site(
            name=name, address=f"{name}.example", timezone=zone, paused_at=NOW if changes.get("is_paused") else None
        )
        session.add(site)
        session.flush()
        ends = None if leaf_days is None else f"{NOW + timedelta(days=leaf_days):%Y-%m-%dT%H:%M:%SZ}"
        session.add(
            Cluster(
                site_id=site.id or 0,
                reachability=changes.get("reachability", "reachable"),
                k3s_version=changes.get("version", "v1.33.5+k3s1"),
                facts={"leaf_expires_at": ends, "datastore": "sqlite" if changes.get("version", "x") else None},
            )
        )


def asked(database: Database) -> dict[str, Operation]:
    with database.read() as session:
        rows = session.exec(
            select(Site.name, Operation)
            .join(Operation, col(Operation.site_id) == col(Site.id))
            .where(Operation.kind == OperationKind.ROTATE_CERTIFICATES.value)
        ).all()
    return dict(rows)


@pytest.fixture
def hours(settings: Settings) -> Settings:
    return settings.model_copy(update={"renew_window": HOURS})


def test_sites_that_are_due_within_their_hours_are_asked_the_next_to_end_first(
    database: Database, hours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, days in (("later", 50.0), ("ended", -3.0), ("soon", 10.0), ("well", 61.0), ("unknown", None)):
        add(database, name, days)
    monkeypatch.setattr(renewal_rounds, "LIMIT", 2)
    assert ask_for_renewals(database, hours, NOW) == 2
    assert set(asked(database)) == {"ended", "soon"}
    assert ask_for_renewals(database, hours, NOW + timedelta(minutes=10)) == 1
    assert ask_for_renewals(database, hours, NOW + timedelta(minutes=20)) == 0
    found = asked(database)
    assert set(found) == {"ended", "soon", "later"}
    assert {(each.actor, each.params["new_keys"], each.priority) for each in found.values()} == {
        ("schedule", False, 10)
    }


def test_what_was_asked_ends_well_before_the_hours_do(database: Database, hours: Settings) -> None:
    add(database, "berlin", 10)
    add(database, "london", 10, zone="Europe/London")
    ask_for_renewals(database, hours, NOW)
    found = asked(database)
    assert found["berlin"].deadline_at == datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
    assert found["london"].deadline_at == datetime(2026, 11, 21, 4, 30, tzinfo=UTC)


def test_elsewhere_it_is_another_hour_and_sites_there_take_no_place(
    database: Database, hours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "new-york", 1, zone="America/New_York")
    add(database, "berlin", 10)
    monkeypatch.setattr(renewal_rounds, "LIMIT", 1)
    ask_for_renewals(database, hours, NOW)
    assert set(asked(database)) == {"berlin"}


@pytest.mark.parametrize("changes", [{"is_paused": True}, {"reachability": "unreachable"}, {"version": None}], ids=str)
def test_a_site_that_is_paused_or_away_or_bare_is_left_alone(
    database: Database, hours: Settings, changes: dict[str, Any]
) -> None:
    add(database, "site", None if "version" in changes else 10, **changes)
    assert ask_for_renewals(database, hours, NOW) == 0


def test_without_hours_nothing_is_restarted_by_itself(database: Database, settings: Settings) -> None:
    add(database, "ended", -3)
    assert settings.renew_window is None
    assert ask_for_renewals(database, settings, NOW) == 0


@pytest.mark.parametrize("last", [timedelta(hours=19), timedelta(hours=21)])
def test_one_that_was_asked_is_asked_again_the_next_day_whatever_became_of_it(
    database: Database, settings: Settings, last: timedelta
) -> None:
    add(database, "fails", 10)
    always = settings.model_copy(update={"renew_window": ""})
    assert ask_for_renewals(database, always, NOW - last) == 1
    assert ask_for_renewals(database, always, NOW) == (1 if last > timedelta(hours=20) else 0)


def test_hours_that_are_none_restart_nothing_and_say_so_in_the_log(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    add(database, "ended", -3)
    assert ask_for_renewals(database, settings.model_copy(update={"renew_window": "at night"}), NOW) == 0
    assert "renew_window: 'at night' is no window" in caplog.text


def test_the_time_left_is_counted_to_the_border_of_the_hours() -> None:
    assert open_for_s(HOURS, "Europe/Berlin", NOW, of="renew_window") == 2 * 3600
    assert open_for_s(HOURS, "America/New_York", NOW, of="renew_window") == 0
    assert open_for_s("", None, NOW, of="renew_window") is None


def test_doctor_says_whether_the_hours_can_be_read() -> None:
    assert (_renewals(HOURS).verdict, _renewals("").verdict) == ("ok", "ok")
    bad = _renewals("at night")
    assert bad.verdict == "bad"
    assert "no certificate is renewed by itself" in bad.detail
    assert "22:00-06:00" in bad.advice
