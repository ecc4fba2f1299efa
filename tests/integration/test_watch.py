"""The watch, over a real database, with probes that are played: links are a dictionary and time is a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import Session, col, select

from edgemgr.links.probe import Probe, ProbeVerdict
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.cluster import Cluster, Reachability
from edgemgr.model.event import Event, Reason
from edgemgr.model.operation import Operation, OperationKind, WaitingFor
from edgemgr.model.site import Site, SiteLabel, Trust
from edgemgr.operations.submit import submit
from edgemgr.queue.settle import settle_attempt
from edgemgr.queue.tries import Endpoint
from edgemgr.queue.watch import READ_S, Watch
from edgemgr.settings import Settings
from edgemgr.store import contacts, schema
from edgemgr.store.claim import claim
from edgemgr.store.database import Database

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
UP = Probe(ProbeVerdict.REACHABLE, "SSH-2.0-played", 0.01)
DARK = Probe(ProbeVerdict.NO_ANSWER, "nothing came within 4 s", 4.0)
PIN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqW1mQ0Xo0e0F4q2fUQK5Yw0rXk9y7mB3F1c2dQ0cXh"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBqW1mQ0Xo0e0F4q2fUQK5Yw0rXk9y7mB3F1c2dQ0cXh"


@dataclass
class Links:
    """What answers at each address, and what was asked when. Plays both the probes and the checks of keys."""

    answers: dict[str, Probe] = field(default_factory=dict)  #: others are dark
    keys: dict[str, Probe] = field(default_factory=dict)  #: others show the pinned key
    hanging: set[str] = field(default_factory=set)  #: probes of these do not end
    asked: list[str] = field(default_factory=list)
    _ended: list[tuple[Endpoint, Probe]] = field(default_factory=list)
    _under_way: int = 0

    def __len__(self) -> int:
        return self._under_way

    def add(self, key: Endpoint, address: str, port: int) -> None:
        self.asked.append(address)
        if address in self.hanging:
            self._under_way += 1
        else:
            self._ended.append((key, self.answers.get(address, DARK)))

    def answer_late(self, address: str, answer: Probe) -> None:
        """End a probe that hangs; the site has no pinned key."""
        self._under_way -= 1
        self._ended.append(((address, 22, None), answer))

    def poll(self) -> Sequence[tuple[Endpoint, Probe]]:
        ended, self._ended = self._ended, []
        return ended


@dataclass
class Keys:
    """Plays the checks of keys."""

    links: Links
    checked: list[str] = field(default_factory=list)
    _ended: list[tuple[Endpoint, Probe]] = field(default_factory=list)

    def add(self, key: Endpoint, address: str, port: int, pin: str) -> None:
        self.checked.append(address)
        self._ended.append((key, self.links.keys.get(address, UP)))

    def poll(self) -> Sequence[tuple[Endpoint, Probe]]:
        ended, self._ended = self._ended, []
        return ended


@dataclass
class Play:
    """A watch on a clock of its own."""

    database: Database
    links: Links
    keys: Keys
    watch: Watch
    now_s: float = 1000.0

    def round(self) -> int:
        return self.watch.round(START + timedelta(seconds=self.now_s), self.now_s)

    def until(self, condition: Callable[[], bool], *, within_s: float, step_s: float = 0.25) -> float:
        """Let rounds pass until it is so; returns how long that took."""
        began = self.now_s
        while not condition():
            assert self.now_s - began <= within_s, "it did not come about in time"
            self.now_s += step_s
            self.round()
        return self.now_s - began

    def pass_by(self, span_s: float, step_s: float = 0.25) -> None:
        end = self.now_s + span_s
        while self.now_s < end:
            self.now_s += step_s
            self.round()


@pytest.fixture
def play(database: Database, settings: Settings) -> Play:
    links = Links()
    keys = Keys(links)
    return Play(database, links, keys, Watch(database, settings, probing=links, checking=keys))


def owe(play: Play, *sites: Site, code: str = "E-SITE-NO-ANSWER", times: int = 1) -> None:
    """Sites with a bootstrap whose last attempts did not reach them."""
    now = START + timedelta(seconds=play.now_s)
    with play.database.write() as session:
        session.add_all(sites)
        session.flush()
        submit(session, OperationKind.VERIFY, {}, [site.id or 0 for site in sites], actor="test")
    for _ in range(times):
        with play.database.write() as session:
            for operation in session.exec(select(Operation).where(col(Operation.waiting_for) == "contact")).all():
                operation.waiting_for = WaitingFor.TURN.value
            session.flush()
            items = claim(session, worker_id="w", zones=(), batch="b", limit=200, max_running=10_000, now=now)
        for item in items:
            away = AttemptResult(Outcome.UNREACHABLE, code=code, message="no answer")
            settle_attempt(play.database, item.attempt.id or 0, away, worker_id="w", now=now)


def waits_for(play: Play, site: str = "site-1") -> str:
    return operation_of(play, site).waiting_for


def operation_of(play: Play, site: str = "site-1") -> Operation:
    with play.database.read() as session:
        query = select(Operation).join(Site).where(Site.name == site).order_by(col(Operation.id).desc())
        return session.exec(query).all()[0]


def cluster_of(session: Session, site: str = "site-1") -> Cluster:
    return session.exec(select(Cluster).join(Site).where(Site.name == site)).one()


def events_of(play: Play, reason: Reason) -> list[str]:
    with play.database.read() as session:
        return list(session.exec(select(Event.message).where(Event.reason == reason.value)))


def test_all_that_waits_for_a_site_is_woken_within_seconds_of_its_answer(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"))
    play.pass_by(60, step_s=1)
    assert waits_for(play) == WaitingFor.CONTACT
    play.links.answers["10.0.0.1"] = UP
    assert play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=5) <= 3.5
    with play.database.read() as session:
        assert cluster_of(session).reachability == Reachability.REACHABLE
    assert events_of(play, Reason.SITE_BACK) == ["answers again"]


def test_a_site_that_answers_between_two_rounds_does_not_wait_for_the_next(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"))
    play.pass_by(60, step_s=1)
    play.links.hanging.add("10.0.0.1")
    play.pass_by(4)
    assert len(play.links.asked) > 1
    play.links.answer_late("10.0.0.1", UP)
    assert play.watch.take_in(START + timedelta(seconds=play.now_s), play.now_s) == 1
    assert waits_for(play) == WaitingFor.TURN


def test_a_site_whose_probe_hangs_holds_up_no_other_and_is_not_probed_again(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"), Site(name="site-2", address="10.0.0.2"))
    play.links.hanging.add("10.0.0.1")
    play.links.answers["10.0.0.2"] = UP
    play.until(lambda: waits_for(play, "site-2") == WaitingFor.TURN, within_s=20)
    play.pass_by(60, step_s=1)
    assert play.links.asked.count("10.0.0.1") == 1


def test_a_site_that_greets_with_another_key_is_stopped_and_not_woken(play: Play) -> None:
    owe(play, pinned("site-1", "10.0.0.1"))
    play.links.answers["10.0.0.1"] = UP
    play.links.keys["10.0.0.1"] = Probe(ProbeVerdict.OTHER_KEY, "shows another host key: SHA256:x", 0.1, OTHER)
    play.pass_by(300, step_s=3)
    operation = operation_of(play)
    assert (operation.waiting_for, operation.code) == (WaitingFor.CONTACT, "E-SITE-IDENTITY-MISMATCH")
    assert operation.message == "shows another host key: SHA256:x"
    with play.database.read() as session:
        assert session.exec(select(Site)).one().trust == Trust.MISMATCH
        assert cluster_of(session).reachability_reason == "shows another host key: SHA256:x"
    assert len(events_of(play, Reason.HOST_KEY_MISMATCH)) == 1
    assert len(play.links.asked) <= 5


def test_a_site_whose_new_key_was_pinned_is_served_again(play: Play) -> None:
    owe(play, pinned("site-1", "10.0.0.1"))
    play.links.answers["10.0.0.1"] = UP
    play.links.keys["10.0.0.1"] = Probe(ProbeVerdict.OTHER_KEY, "shows another host key: SHA256:x", 0.1, OTHER)
    play.pass_by(60, step_s=1)
    with play.database.write() as session:
        session.exec(select(Site)).one().trust = Trust.PINNED.value
    play.links.keys.clear()
    assert play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=2 * READ_S, step_s=2) <= READ_S + 15


def test_a_host_that_greets_and_then_hangs_is_told_apart_and_tried_ever_more_rarely(play: Play) -> None:
    owe(play, pinned("site-1", "10.0.0.1"))
    play.links.answers["10.0.0.1"] = UP
    play.links.keys["10.0.0.1"] = Probe(ProbeVerdict.SILENT, "it greets, but the key exchange hangs", 10.0)
    play.pass_by(600, step_s=3)
    assert operation_of(play).message == "it greets, but the key exchange hangs"
    assert 10 <= len(play.keys.checked) <= 20
    play.links.keys.clear()
    assert play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=61) > 0


def test_the_key_is_looked_at_before_waking_and_not_with_every_probe(play: Play) -> None:
    owe(play, pinned("site-1", "10.0.0.1"))
    play.pass_by(60, step_s=1)
    assert play.keys.checked == []
    play.links.answers["10.0.0.1"] = UP
    play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=5)
    assert play.keys.checked == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (ProbeVerdict.NO_ANSWER, "E-SITE-NO-ANSWER"),
        (ProbeVerdict.REFUSED, "E-SITE-REFUSED"),
        (ProbeVerdict.UNREACHABLE, "E-SITE-UNREACHABLE"),
        (ProbeVerdict.NAME_UNKNOWN, "E-SITE-NAME"),
        (ProbeVerdict.SILENT, "E-SITE-TURNED-AWAY"),
        (ProbeVerdict.NOT_SSH, "E-SITE-TURNED-AWAY"),
        (ProbeVerdict.BUSY, "E-SITE-TURNED-AWAY"),
    ],
)
def test_what_was_found_is_the_reason_why_a_site_waits(play: Play, verdict: ProbeVerdict, code: str) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"))
    play.links.answers["10.0.0.1"] = Probe(verdict, f"words for {verdict}", 0.1)
    play.pass_by(5)
    operation = operation_of(play)
    assert (operation.waiting_for, operation.code) == (WaitingFor.CONTACT, code)
    assert operation.message == f"words for {verdict}"
    with play.database.read() as session:
        assert cluster_of(session).reachability_reason == f"words for {verdict}"


def test_a_fault_of_our_own_is_held_against_no_site(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"))
    play.links.answers["10.0.0.1"] = Probe(ProbeVerdict.NOT_TRIED, "too many open files", 0.0)
    play.pass_by(10)
    assert operation_of(play).message == "no answer"
    assert len(play.links.asked) >= 3


def test_a_host_that_greets_but_fails_every_attempt_is_not_tried_in_a_tight_loop(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"), code="E-SITE-FORWARD", times=6)
    play.links.answers["10.0.0.1"] = UP
    assert 60 <= play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=100, step_s=1) <= 75


def test_a_site_whose_last_attempt_met_silence_is_not_held_back_for_long(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"), code="E-SITE-NO-ANSWER", times=9)
    play.links.answers["10.0.0.1"] = UP
    assert play.until(lambda: waits_for(play) == WaitingFor.TURN, within_s=20) <= 15


def test_that_a_jump_host_answers_wakes_the_site_and_says_nothing_of_it(play: Play) -> None:
    behind = [
        Site(name=f"site-{n}", address=f"192.168.{n}.1", jump_address="10.0.0.9", jump_host_key=PIN) for n in (1, 2, 3)
    ]
    owe(play, *behind)
    play.pass_by(30)
    assert set(play.links.asked) == {"10.0.0.9"}
    assert len(play.links.asked) <= 12  # once for the three of them
    assert operation_of(play).message == "the jump host 10.0.0.9: nothing came within 4 s"
    play.links.answers["10.0.0.9"] = UP
    play.until(lambda: all(waits_for(play, site.name) == WaitingFor.TURN for site in behind), within_s=5)
    assert play.keys.checked == ["10.0.0.9"]
    with play.database.read() as session:
        assert cluster_of(session).reachability == Reachability.UNREACHABLE


def test_another_key_of_a_jump_host_is_not_held_against_the_site(play: Play) -> None:
    owe(play, Site(name="site-1", address="192.168.1.1", jump_address="10.0.0.9", jump_host_key=PIN))
    play.links.answers["10.0.0.9"] = UP
    play.links.keys["10.0.0.9"] = Probe(ProbeVerdict.OTHER_KEY, "shows another host key: SHA256:x", 0.1, OTHER)
    play.pass_by(60, step_s=1)
    operation = operation_of(play)
    assert (operation.waiting_for, operation.code) == (WaitingFor.CONTACT, "E-JUMP-IDENTITY-MISMATCH")
    with play.database.read() as session:
        assert session.exec(select(Site)).one().trust == Trust.UNKNOWN


def test_a_worker_of_another_zone_does_not_try_a_site(database: Database, settings: Settings) -> None:
    links = Links()
    keys = Keys(links)
    play = Play(database, links, keys, Watch(database, settings, probing=links, checking=keys))
    owe(play, Site(name="site-1", address="10.0.0.1"), Site(name="site-2", address="10.0.0.2"))
    with database.write() as session:
        session.add(SiteLabel(site_id=1, key="zone", value="north"))
    south = Watch(database, settings.model_copy(update={"zones": ("default",)}), probing=links, checking=keys)
    south.round(START, 0.0)
    assert set(links.asked) == {"10.0.0.2"}


def test_nothing_is_read_or_written_for_sites_as_long_as_nothing_changes(play: Play) -> None:
    """What ten thousand dark sites cost must not be statements that name them all."""
    owe(play, *(Site(name=f"site-{n}", address=f"10.0.{n // 250}.{n % 250}") for n in range(100)))
    play.pass_by(40 * 60, step_s=20)  # all are known as dark, and tried rarely by now
    statements: list[str] = []
    event.listen(play.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    asked = len(play.links.asked)
    play.pass_by(50, step_s=0.25)
    whole = [text for text in statements if "site.trust !=" in text and "site_id IN" not in text]
    written = [text for text in statements if text.startswith(("UPDATE", "INSERT", "DELETE"))]
    assert len(whole) <= 1
    assert len(written) <= 1  # when they were tried last, once in a while
    assert len(play.links.asked) - asked >= 100
    assert len(statements) <= 2 * 200 + 50  # one read a round at most, and the looks


def test_that_a_dark_site_was_tried_is_written_every_few_minutes(play: Play) -> None:
    owe(play, Site(name="site-1", address="10.0.0.1"))
    play.pass_by(1000, step_s=5)
    with play.database.read() as session:
        tried_at = cluster_of(session).tried_at
    assert tried_at is not None
    assert play.now_s - (tried_at - START).total_seconds() < 310


def test_what_was_observed_long_ago_is_looked_at_again_once(play: Play, settings: Settings) -> None:
    with play.database.write() as session:
        session.add_all(Site(name=f"site-{n}", address=f"10.0.0.{n}") for n in (1, 2))
        session.flush()
        long_ago = START - timedelta(seconds=settings.health_interval_s + 1)
        for number, seen in ((1, "reachable"), (2, "unreachable")):
            session.add(Cluster(site_id=number, reachability=seen, observed_at=long_ago, k3s_version="v1.33.5+k3s1"))
    assert play.watch.refresh(START) == 1
    assert play.watch.refresh(START) == 0


def test_the_mark_changes_with_every_site_that_comes_or_goes(play: Play) -> None:
    marks = set()
    for number in range(1, 4):
        owe(play, Site(name=f"site-{number}", address=f"10.0.0.{number}"))
        with play.database.read() as session:
            marks.add(contacts.owing_mark(session))
            assert len(contacts.owing_sites(session, ())) == number
    assert len(marks) == 3


def pinned(name: str, address: str) -> Site:
    return Site(
        name=name,
        address=address,
        host_key=PIN,
        host_key_fingerprint="SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        trust=Trust.PINNED.value,
    )


def test_how_to_try_a_few_sites_is_read_without_walking_all_that_wait(settings: Settings, tmp_path: Path) -> None:
    """On SQLite, which chooses without statistics."""
    database = Database(f"sqlite:///{tmp_path / 'plan.db'}")
    schema.upgrade(database)
    links = Links()
    keys = Keys(links)
    play = Play(database, links, keys, Watch(database, settings, probing=links, checking=keys))
    owe(play, *(Site(name=f"site-{n}", address=f"10.0.0.{n}") for n in range(1, 4)))
    statements: list[tuple[str, tuple[object, ...]]] = []
    event.listen(play.database.engine, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
    with play.database.read() as session:
        assert len(contacts.contacts_of(session, [1, 2])) == 2
        text, values = statements[-1]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
    steps = " ".join(row[3] for row in plan)
    assert "operation_one_head" in steps
    assert "SCAN" not in steps
    database.close()
