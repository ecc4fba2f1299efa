from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation, Priority
from edgemgr.store.queries import SiteRow
from edgemgr.web.console.explanation import Explanation, explain

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def row(**fields: Any) -> SiteRow:
    values: dict[str, Any] = dict.fromkeys(SiteRow.__dataclass_fields__)
    values |= {
        "name": "store-1",
        "labels": {},
        "trust": "pinned",
        "reachability": "reachable",
        "reachability_reason": "",
        "health": "healthy",
        "health_reason": "",
        "update": "up_to_date",
        "k3s_version": "v1.33.5+k3s1",
    }
    return SiteRow(**(values | fields))


def operation(state: str = "queued", **fields: Any) -> Operation:
    is_open = state in ("queued", "running")
    values: dict[str, Any] = {
        "id": 9,
        "site_id": 1,
        "kind": "bootstrap",
        "state": state,
        "is_head": is_open,
        "attempts": 2,
        "not_before": NOW,
        "deadline_at": NOW + timedelta(days=1),
        "request": "r",
        "actor": "ada",
        "batch_key": "b",
        "finished_at": None if is_open else NOW - timedelta(minutes=5),
    }
    return Operation(**(values | fields))


def of(site: SiteRow, *operations: Operation, attempt: Attempt | None = None, has_worker: bool = True) -> Explanation:
    return explain(site, operations, attempt, has_worker=has_worker, now=NOW)


def test_a_site_that_is_well_is_owed_nothing() -> None:
    assert of(row()) == Explanation("good", "All is well; nothing is owed to this site.")


def test_a_changed_host_key_comes_before_everything_else() -> None:
    found = of(row(trust="mismatch"), operation("running"))
    assert found.tone == "bad"
    assert "Another host" in found.sentence
    assert found.command.startswith("edgemgr site trust store-1 --fingerprint ")


def test_what_runs_is_told_with_its_time_and_its_log() -> None:
    attempt = Attempt(
        operation_id=9, number=2, worker_id="w", batch="b", lease_until=NOW, started_at=NOW - timedelta(seconds=75)
    )
    found = of(row(), operation("running"), attempt=attempt)
    assert found.sentence == "Bootstrap has been running for 1m (attempt 2)."
    assert found.next_step == "Its log is below."


def test_a_stage_that_runs_has_no_log_but_a_place_where_it_is_counted() -> None:
    found = of(row(), operation("running", kind="stage", priority=Priority.TRANSFER, cancel_requested=True))
    assert found.tone == "busy"
    assert found.sentence == "A bundle is on its way to the site (attempt 2); it is asked to stop."
    assert "shown below" in found.next_step


def test_a_stage_that_waits_for_its_window_says_until_when() -> None:
    told = "its transfer window is closed until 2026-11-20 22:00 UTC"
    found = of(row(), operation(kind="stage", waiting_for="window", message=told))
    assert found.sentence == f"Stage waits: {told}."
    assert "by itself" in found.next_step


def test_the_log_of_an_earlier_operation_is_not_taken_for_that_of_the_running_one() -> None:
    earlier = Attempt(
        operation_id=3, number=1, worker_id="w", batch="b", lease_until=NOW, started_at=NOW - timedelta(days=2)
    )
    found = of(row(), operation("running", kind="probe"), attempt=earlier)
    assert (found.sentence, found.next_step) == ("Probe has been running (attempt 2).", "")


def test_a_site_that_is_away_needs_nobody_and_the_deadline_is_told() -> None:
    found = of(row(reachability="unreachable"), operation(waiting_for="contact", message="timed out after 4 s"))
    assert found.tone == "wait"
    assert found.sentence == "Bootstrap waits until the site answers: timed out after 4 s"
    assert found.next_step.startswith("Nothing to do")
    assert "2026-11-21 12:00:00 UTC" in found.next_step


def test_a_backoff_tells_when_the_next_try_is_and_how_to_have_it_now() -> None:
    found = of(row(), operation(waiting_for="backoff", not_before=NOW + timedelta(seconds=40), message="k3s crashed"))
    assert found.sentence == "Bootstrap is tried again in 40s: k3s crashed"
    assert found.command == "edgemgr operation retry 9"


def test_an_upgrade_that_a_node_carries_out_by_itself_is_under_way_and_not_late() -> None:
    waits = {"kind": "upgrade", "waiting_for": "backoff", "code": "E-OP-GOES-ON", "message": "it stands at 'verify'"}
    found = of(row(), operation(**waits, hint="It needs no link."))
    assert found == Explanation("busy", "Upgrade is under way at the site: it stands at 'verify'", "It needs no link.")


def test_a_paused_site_tells_why_and_how_it_goes_on() -> None:
    found = of(row(paused_why="the shop is being rebuilt"), operation(waiting_for="resume"))
    assert found.sentence == "Bootstrap waits: an operator paused this site, the shop is being rebuilt."
    assert found.command == "edgemgr queue resume store-1"


def test_an_operation_that_nobody_can_take_up_says_so() -> None:
    assert of(row(), operation(), has_worker=False).command == "edgemgr worker"
    assert of(row(), operation()).sentence == "Bootstrap waits for its turn."


def test_a_failure_stays_until_something_newer_ends_well() -> None:
    failed = operation("failed", message="the disk is full", hint="Free 4 GiB.")
    found = of(row(), failed)
    assert found.sentence == "Bootstrap failed 5m ago: the disk is full"
    assert (found.next_step, found.command) == ("Free 4 GiB.", "edgemgr operation retry 9")
    assert of(row(), operation("succeeded", id=10), failed).tone == "good"


def test_a_routine_look_explains_nothing() -> None:
    look = operation("running", kind="probe", priority=Priority.BACKGROUND)
    assert of(row(health="degraded", health_reason="coredns"), look).sentence == "k3s is degraded: coredns"


def test_a_new_site_is_told_its_first_steps_one_after_the_other() -> None:
    assert of(row(trust="unknown", k3s_version=None)).command == "edgemgr site trust store-1"
    assert of(row(k3s_version=None)).command == "edgemgr bootstrap store-1 --version VERSION"


def test_two_versions_are_named_when_they_differ() -> None:
    found = of(row(update="out_of_date", k3s_desired="v1.34.1+k3s1"))
    assert "v1.33.5+k3s1" in found.sentence
    assert "v1.34.1+k3s1" in found.sentence


def test_a_strange_name_cannot_add_to_a_command() -> None:
    assert of(row(name="x; reboot", trust="unknown")).command == "edgemgr site trust 'x; reboot'"
