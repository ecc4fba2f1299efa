"""Evidence becomes an outcome: the table of the architecture page, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.cluster import Health
from edgemgr.model.operation import WaitingFor
from edgemgr.runner.events import EventKind, RunnerEvent, read_event
from edgemgr.runner.result import Ending, RunEnd, by_end, by_event

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOST = "edgemgr-site-7"


def settle(
    name: str, res: dict[str, Any], *, changed: bool = False, role: str = "", **data: Any
) -> AttemptResult | None:
    event = read_event(
        {"event": name, "event_data": {"host": HOST, "task": "a task", "role": role, "res": res, **data}}
    )
    assert event is not None
    return by_event(event, site="site-7", changed=changed, now=NOW)


def settled(name: str, res: dict[str, Any], **options: Any) -> AttemptResult:
    result = settle(name, res, **options)
    assert result is not None
    return result


def unreachable(stderr: str) -> AttemptResult:
    start = 'Task failed: Data could not be sent to remote host "h". Make sure this host can be reached over ssh: '
    return settled("runner_on_unreachable", {"unreachable": True, "msg": start + stderr, "changed": False})


REFUSAL = {"code": "E-PRE-DISK", "message": "full", "hint": "free some", "check": "disk"}


def test_a_report_is_success_and_its_time_is_ours() -> None:
    report = {"health": "degraded", "health_reason": "coredns", "k3s_version": "v1", "pods": 3, "checked_at": "1970"}
    result = settled("runner_on_ok", {"edge_observation": report}, changed=True)
    assert (result.outcome, result.changed) == (Outcome.SUCCEEDED, True)
    assert result.observation is not None
    assert (result.observation.health, result.observation.observed_at) == (Health.DEGRADED, NOW)
    assert result.observation.facts == {"pods": 3, "checked_at": "1970"}


def test_a_task_without_a_report_settles_nothing() -> None:
    assert settle("runner_on_ok", {"changed": True}) is None


@pytest.mark.parametrize(("asked", "pause_s"), [(20, 20), (0, 5), (10**9, 3600)])
def test_a_node_that_goes_on_by_itself_has_neither_failed_nor_succeeded(asked: int, pause_s: int) -> None:
    res = {"edge_resume_s": asked, "msg": "it stands at 'verify'", "changed": True}
    result = settled("runner_on_ok", res, changed=True)
    assert (result.outcome, result.code, result.retry) == (Outcome.LOST, "E-OP-GOES-ON", Retry.FREE)
    assert (result.message, result.changed) == ("it stands at 'verify'", True)
    assert (result.resume_at, result.resume_for) == (NOW + timedelta(seconds=pause_s), WaitingFor.BACKOFF)


def test_a_node_whose_hours_have_not_come_waits_for_them() -> None:
    result = settled("runner_on_ok", {"edge_waits_s": 7200, "msg": "its hours have not come"})
    assert (result.outcome, result.code, result.retry) == (Outcome.LOST, "E-UPGRADE-CLOSED", Retry.FREE)
    assert (result.resume_at, result.resume_for) == (NOW + timedelta(seconds=7200), WaitingFor.WINDOW)


@pytest.mark.parametrize("odd", ["20", None, True, 2.5])
def test_an_odd_pause_is_none(odd: object) -> None:
    assert settle("runner_on_ok", {"edge_resume_s": odd}) is None


def test_a_failure_that_is_ignored_settles_nothing() -> None:
    assert settle("runner_on_failed", {"msg": "no"}, ignore_errors=True) is None


def test_a_task_that_merely_checks_its_arguments_settles_nothing() -> None:
    assert settle("runner_on_ok", {"changed": False}, role="edgemgr.edge.reset") is None


def test_a_reset_leaves_no_k3s_to_report() -> None:
    gone = {"health": "unknown", "health_reason": "k3s was removed"}
    result = settled("runner_on_ok", {"changed": True, "edge_observation": gone}, role="edgemgr.edge.reset")
    assert result.outcome is Outcome.SUCCEEDED
    assert result.observation is not None
    assert (result.observation.health, result.observation.k3s_version) == (Health.UNKNOWN, None)


def test_a_failed_report_still_says_what_it_saw() -> None:
    res = {"msg": "pods", "edge_code": "E-VERIFY-PODS", "edge_observation": {"health": "degraded"}}
    result = settled("runner_on_failed", res)
    assert (result.outcome, result.code) == (Outcome.FAILED, "E-VERIFY-PODS")
    assert result.observation is not None
    assert result.observation.health is Health.DEGRADED


def test_refusals_are_refused_once_and_for_all() -> None:
    result = settled("runner_on_failed", {"msg": "full", "edge_refusals": [REFUSAL]})
    assert result == AttemptResult(
        Outcome.REFUSED, code="E-PRE-DISK", message="full", hint="free some", retry=Retry.NEVER
    )


def test_after_a_change_a_refusal_is_a_failure() -> None:
    result = settled("runner_on_failed", {"edge_refusals": [REFUSAL]}, changed=True)
    assert (result.outcome, result.retry) == (Outcome.FAILED, Retry.BUDGETED)


def test_a_busy_fence_may_pass_the_next_time() -> None:
    result = settled("runner_on_failed", {"msg": "busy", "edge_code": "E-FENCE-BUSY", "edge_retry": "budgeted"})
    assert (result.outcome, result.code, result.retry) == (Outcome.FAILED, "E-FENCE-BUSY", Retry.BUDGETED)


def test_a_module_may_say_that_no_repeat_helps() -> None:
    assert settled("runner_on_failed", {"edge_code": "E-X", "edge_retry": "never"}).retry is Retry.NEVER


def test_a_failure_without_words_names_its_task() -> None:
    result = settled("runner_on_failed", {}, role="edgemgr.edge.k3s")
    assert (result.code, result.message) == ("E-TASK-FAILED", "the task 'k3s: a task' failed without a word")


@pytest.mark.parametrize("code", ["rm -rf", "E-", "e-low", "E-X\n", "E-" + "X" * 80, 7, None, ["E-X"]])
def test_a_code_that_is_none_is_not_passed_on(code: object) -> None:
    assert settled("runner_on_failed", {"msg": "no", "edge_code": code}).code == "E-TASK-FAILED"


@pytest.mark.parametrize(
    "stderr",
    [
        "@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nHost key verification failed.\r\n",
        (
            "No ED25519 host key is known for edgemgr-site-7 and you have requested strict checking.\r\n"
            "Host key verification failed.\r\n"
        ),
    ],
)
def test_a_wrong_host_key_is_no_question_of_reachability(stderr: str) -> None:
    result = unreachable(stderr)
    assert (result.outcome, result.code, result.retry) == (Outcome.FAILED, "E-SITE-IDENTITY-MISMATCH", Retry.NEVER)


@pytest.mark.parametrize(
    "stderr",
    [
        "root@10.0.0.1: Permission denied (publickey).\r\n",
        "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\r\n",
    ],
)
def test_a_refused_login_is_no_question_of_reachability(stderr: str) -> None:
    result = unreachable(stderr)
    assert (result.outcome, result.code, result.retry) == (Outcome.FAILED, "E-LOGIN-KEY", Retry.BUDGETED)
    assert result.message == f"site-7 does not accept our key: {stderr.strip()}"


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("ssh: connect to host 10.0.0.1 port 22: Connection timed out\r\n", "port 22: Connection timed out"),
        ("client_loop: send disconnect: Broken pipe\r\n", "Broken pipe"),
        ("Timeout, server 10.0.0.1 not responding.\r\n", "not responding."),
        ("", "without a word"),
    ],
)
def test_a_link_that_is_down_is_unreachable_and_free(stderr: str, reason: str) -> None:
    result = unreachable(stderr)
    assert (result.outcome, result.code, result.retry) == (Outcome.UNREACHABLE, "E-SITE-UNREACHABLE", Retry.FREE)
    assert result.message.startswith("site-7 could not be reached: ")
    assert result.message.endswith(reason)


NO_JSON = "Module result deserialization failed: No start of json char found"


@pytest.mark.parametrize(
    ("res", "outcome", "code"),
    [
        ({"msg": "The module interpreter '/usr/bin/python3' was not found.", "rc": 127,
          "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found\n"}, Outcome.REFUSED, "E-PRE-PYTHON"),
        ({"msg": NO_JSON, "module_stderr": "ModuleNotFoundError: No module named 'zipfile'"},
         Outcome.REFUSED, "E-PRE-PYTHON"),
        ({"msg": "ansible-core requires a minimum of Python version 3.8. Current version: 3.7", "module_stderr": ""},
         Outcome.REFUSED, "E-PRE-PYTHON"),
        ({"msg": NO_JSON, "module_stderr": "/bin/sh: 1: sudo: not found\n", "rc": 127}, Outcome.REFUSED, "E-PRE-SUDO"),
        ({"msg": "Task failed: Missing sudo password"}, Outcome.REFUSED, "E-PRE-SUDO"),
        ({"msg": NO_JSON, "module_stderr": "u is not in the sudoers file.\n", "rc": 1}, Outcome.REFUSED, "E-PRE-SUDO"),
        ({"msg": NO_JSON, "module_stderr": "Shared connection to 10.0.0.1 closed.\r\n"},
         Outcome.UNREACHABLE, "E-SITE-UNREACHABLE"),
        ({"msg": "Task failed: Timeout (12s) waiting for privilege escalation prompt: "},
         Outcome.UNREACHABLE, "E-SITE-UNREACHABLE"),
        # A module that ran may say such things of its own neighbours.
        ({"msg": "https://example: Connection timed out"}, Outcome.FAILED, "E-TASK-FAILED"),
        ({"msg": "sudo: not found", "edge_code": "E-NODE-IO", "module_stderr": ""}, Outcome.FAILED, "E-NODE-IO"),
    ],
)  # fmt: skip
def test_what_kept_a_module_from_running_is_told_apart(res: dict[str, Any], outcome: Outcome, code: str) -> None:
    result = settled("runner_on_failed", res)
    assert (result.outcome, result.code) == (outcome, code), result


def test_a_right_to_sudo_that_went_away_in_the_middle_is_a_failure() -> None:
    result = settled("runner_on_failed", {"msg": "Task failed: Missing sudo password"}, changed=True)
    assert (result.outcome, result.code) == (Outcome.FAILED, "E-PRE-SUDO")


def end(ending: Ending, **values: Any) -> AttemptResult:
    return by_end(RunEnd(ending, **values), host=HOST, site="site-7", changed=True)


STATS = RunnerEvent(EventKind.STATS, lost=frozenset({HOST}))


@pytest.mark.parametrize(
    ("result", "outcome", "code", "retry"),
    [
        (end(Ending.CANCELED, has_begun=True), Outcome.CANCELED, "", Retry.NEVER),
        (end(Ending.TIMED_OUT, has_begun=True), Outcome.TIMED_OUT, "E-RUNNER-TIMEOUT", Retry.BUDGETED),
        (end(Ending.DONE, output="ERROR! x"), Outcome.FAILED, "E-RUNNER-PLAYBOOK", Retry.NEVER),
        (end(Ending.DONE, has_begun=True, stats=STATS), Outcome.UNREACHABLE, "E-SITE-UNREACHABLE", Retry.FREE),
        (end(Ending.DONE, has_begun=True), Outcome.FAILED, "E-RUNNER-NO-REPORT", Retry.BUDGETED),
        (end(Ending.CRASHED), Outcome.FAILED, "E-RUNNER-CRASH", Retry.BUDGETED),
    ],
)
def test_the_end_of_the_process_settles_the_rest(
    result: AttemptResult, outcome: Outcome, code: str, retry: Retry
) -> None:
    assert (result.outcome, result.code, result.retry, result.changed) == (outcome, code, retry, True)
