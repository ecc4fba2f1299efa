"""A token's rotation in the queue: a backup here first, then the token, then a backup of after, one by one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlmodel import select, update
from tests_support.console_fleet import add_cluster, add_site
from tests_support.queue_requests import NOW, every_operation

from edgemgr.errors import ConflictError, LeaseLostError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.event import Event
from edgemgr.model.operation import Operation, OperationKind, Priority
from edgemgr.operations import steer
from edgemgr.operations.submit import submit
from edgemgr.queue import settle
from edgemgr.queue.settle import settle_attempt
from edgemgr.store import operations
from edgemgr.store.claim import Claimed, claim
from edgemgr.store.database import Database

GOOD = AttemptResult(Outcome.SUCCEEDED)
ROAD = ["backup", "pull", "rotate-token", "backup", "pull"]
#: Which of them are carried in the lane of transfers.
TRANSFERS = [False, True, False, False, True]


@pytest.fixture
def site(database: Database) -> int:
    return with_k3s(database, "store-1")


def with_k3s(database: Database, name: str, version: str | None = "v1.33.5+k3s1") -> int:
    site = add_site(database, name)
    add_cluster(database, site, k3s_version=version)
    return site


def rotate(database: Database, *sites: int, request: str | None = None, deadline_s: float = 7 * 86400.0) -> str:
    with database.write() as session:
        asked = submit(
            session,
            OperationKind.BACKUP,
            {"token": "before"},
            sites,
            actor="ops",
            request=request,
            deadline_s=deadline_s,
            now=NOW,
        )
    return asked.id


def backup(database: Database, *sites: int) -> None:
    with database.write() as session:
        submit(session, OperationKind.BACKUP, {}, sites, actor="ops", now=NOW)


def take(database: Database, *, transfers: bool = False, now: datetime = NOW) -> list[Claimed]:
    with database.write() as session:
        return claim(
            session, worker_id="w1", zones=(), batch="b", limit=50, max_running=1000, transfers=transfers, now=now
        )


def end(database: Database, claimed: list[Claimed], result: AttemptResult = GOOD, now: datetime = NOW) -> None:
    for item in claimed:
        settle_attempt(database, item.attempt.id or 0, result, worker_id="w1", now=now)


def kinds(database: Database) -> list[tuple[str, str]]:
    return [(each.kind, each.state) for each in every_operation(database)]


def walk(database: Database, steps: int) -> None:
    """Let so many steps of the road succeed."""
    for transfers in TRANSFERS[:steps]:
        claimed = take(database, transfers=transfers)
        assert len(claimed) == 1
        end(database, claimed)


def test_each_step_follows_from_the_success_of_the_one_before_as_one_request(database: Database, site: int) -> None:
    request = rotate(database, site)
    for done, transfers in enumerate(TRANSFERS, start=1):
        claimed = take(database, transfers=transfers)
        assert [item.operation.kind for item in claimed] == [ROAD[done - 1]]
        end(database, claimed)
        assert [kind for kind, _ in kinds(database)] == ROAD[: min(done + 1, 5)]
    found = every_operation(database)
    assert {(each.request, each.actor, each.state) for each in found} == {(request, "ops", "succeeded")}
    assert [each.params.get("token") for each in found] == ["before", "before", None, "after", "after"]
    assert [each.priority for each in found] == [
        Priority.TRANSFER if transfers else Priority.INTERACTIVE for transfers in TRANSFERS
    ]


def test_an_ordinary_backup_only_pulls(database: Database, site: int) -> None:
    backup(database, site)
    for transfers in (False, True):
        end(database, take(database, transfers=transfers))
    assert kinds(database) == [("backup", "succeeded"), ("pull", "succeeded")]


def test_what_was_asked_by_an_older_appliance_goes_on_as_it_was(database: Database, site: int) -> None:
    backup(database, site)
    with database.write() as session:
        session.execute(update(Operation).values(params={}))
    for transfers in (False, True):
        end(database, take(database, transfers=transfers))
    assert kinds(database) == [("backup", "succeeded"), ("pull", "succeeded")]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.FAILED])
def test_nothing_follows_from_a_step_that_fails_and_its_sentence_says_what_that_means(
    database: Database, site: int, steps: int, outcome: Outcome
) -> None:
    rotate(database, site)
    walk(database, steps)
    failed = AttemptResult(outcome, code="E-BACKUP-ROOM", message="the disk is full")
    for _ in range(1 if outcome is Outcome.REFUSED else 10 if TRANSFERS[steps] else 3):
        end(database, take(database, transfers=TRANSFERS[steps], now=NOW + timedelta(days=1)), failed, NOW)
    assert kinds(database) == [(kind, "succeeded") for kind in ROAD[:steps]] + [(ROAD[steps], "failed")]
    last = every_operation(database)[-1]
    meaning = {
        0: "; so the token was not rotated",
        1: "; so the token was not rotated",
        2: "",
        3: "; so the newest backup does not hold the new token yet",
        4: "; so the newest backup does not hold the new token yet",
    }
    assert last.message == "the disk is full" + meaning[steps]
    with database.read() as session:
        told = session.exec(select(Event.message).where(Event.operation_id == last.id).order_by(Event.id)).all()
    assert told[-1].endswith("the disk is full" + meaning[steps])


def test_a_step_that_is_only_tried_again_says_nothing_of_an_end(database: Database, site: int) -> None:
    rotate(database, site)
    end(database, take(database), AttemptResult(Outcome.UNREACHABLE, message="no route"))
    (waiting,) = every_operation(database)
    assert (waiting.state, waiting.message) == ("queued", "no route")


def test_what_was_asked_for_has_the_time_that_it_was_given_until_the_token_is_rotated(
    database: Database, site: int
) -> None:
    rotate(database, site, deadline_s=7200)
    for transfers in TRANSFERS[:3]:
        end(database, take(database, transfers=transfers), now=NOW + timedelta(hours=1))
    deadlines = [each.deadline_at for each in every_operation(database)]
    assert deadlines[:3] == [NOW + timedelta(hours=2)] * 3
    assert deadlines[3] == NOW + timedelta(hours=25), "the backup of after is owed in any case"


def test_a_step_that_succeeds_past_the_deadline_does_not_begin_what_was_asked_for(
    database: Database, site: int
) -> None:
    rotate(database, site, deadline_s=60)
    end(database, take(database), now=NOW + timedelta(hours=1))
    pull = every_operation(database)[-1]
    assert (pull.kind, pull.state, pull.deadline_at) == ("pull", "queued", NOW + timedelta(hours=1, seconds=1))
    with database.write() as session:
        assert operations.expire(session, now=NOW + timedelta(hours=2)) == 1
    assert kinds(database) == [("backup", "succeeded"), ("pull", "expired")]


def test_a_crash_in_the_settling_loses_neither_the_step_nor_what_follows(
    database: Database, site: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(database, site)
    walk(database, 1)
    claimed = take(database, transfers=True)
    with monkeypatch.context() as patch:

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(settle, "submit", crash)
        with pytest.raises(KeyboardInterrupt):
            end(database, claimed)
    assert kinds(database) == [("backup", "succeeded"), ("pull", "running")]
    end(database, claimed)
    assert kinds(database) == [("backup", "succeeded"), ("pull", "succeeded"), ("rotate-token", "queued")]
    with pytest.raises(LeaseLostError):
        end(database, claimed)
    assert len(kinds(database)) == 3, "a result that comes twice asks once"


def test_a_pull_that_leads_on_is_not_given_up_for_one_that_does_not(database: Database, site: int) -> None:
    request = rotate(database, site)
    walk(database, 1)
    backup(database, site)
    end(database, take(database))
    assert kinds(database) == [("backup", "succeeded"), ("pull", "queued"), ("backup", "succeeded")]
    end(database, take(database, transfers=True))
    last = every_operation(database)[-1]
    assert (last.kind, last.request) == ("rotate-token", request)


def test_a_backup_that_leads_on_takes_the_place_of_one_that_does_not(database: Database, site: int) -> None:
    backup(database, site)
    rotate(database, site)
    assert kinds(database) == [("backup", "canceled"), ("backup", "queued")]


@pytest.mark.parametrize("is_running", [False, True])
def test_a_backup_is_not_asked_for_where_one_that_leads_on_is_open(
    database: Database, site: int, *, is_running: bool
) -> None:
    rotate(database, site)
    if is_running:
        take(database)
    with pytest.raises(ConflictError) as caught:
        backup(database, site)
    assert caught.value.code == "E-OP-OPEN"
    other = with_k3s(database, "store-2")
    with database.write() as session:
        asked = submit(session, OperationKind.BACKUP, {}, [site, other], actor="ops", now=NOW)
    assert asked.site_ids == (other,)
    assert len(every_operation(database)) == 2


def test_a_second_rotation_takes_the_place_of_one_that_waits(database: Database, site: int) -> None:
    rotate(database, site)
    rotate(database, site)
    assert kinds(database) == [("backup", "canceled"), ("backup", "queued")]


def test_canceled_between_two_steps_it_ends_there(database: Database, site: int) -> None:
    request = rotate(database, site)
    walk(database, 1)
    steer.cancel(database, steer.open_among(database, [], request=request), actor="ops")
    assert kinds(database) == [("backup", "succeeded"), ("pull", "canceled")]


def test_a_step_that_failed_is_asked_for_again_with_what_follows(database: Database, site: int) -> None:
    rotate(database, site)
    end(database, take(database), AttemptResult(Outcome.REFUSED, message="the disk is full"))
    steer.retry(database, every_operation(database)[-1].id or 0, actor="ops")
    walk(database, 3)
    assert [kind for kind, state in kinds(database) if state == "succeeded"] == ROAD[:3]


def test_a_site_without_k3s_or_with_one_that_is_too_old_is_denied_and_nothing_is_asked_of_any(
    database: Database, site: int
) -> None:
    bare, old, unknown = (
        with_k3s(database, "bare", None),
        with_k3s(database, "old", "v1.28.2+k3s1"),
        add_site(database, "unknown"),
    )
    for other, code in ((bare, "E-TOKEN-NO-K3S"), (old, "E-TOKEN-VERSION"), (unknown, "E-TOKEN-NO-K3S")):
        with pytest.raises(ConflictError) as caught:
            rotate(database, site, other)
        assert caught.value.code == code
        assert caught.value.hint
    assert every_operation(database) == []
    backup(database, bare, old)
    assert len(every_operation(database)) == 2, "a backup is another matter"
