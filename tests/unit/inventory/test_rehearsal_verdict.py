"""The verdict over a start, and the line of k3s' log that tells why."""

from __future__ import annotations

from typing import Any

import pytest

from edgemgr.inventory.rehearsal_faults import RehearsalError
from edgemgr.inventory.rehearsal_verdict import Started, judge, telling_line
from edgemgr.model.secret import Secret
from edgemgr.runner.redact import Redactor

UID = "5e0c9a4e-51c7-4f30-a4a3-4bd4a9a5f0d1"
LISTED = {"nodes": 1, "namespaces": 4, "secrets": 9}
READY: dict[str, Any] = {
    "outcome": "ready", "said": "", "ready_s": 7.5, "cluster_id": UID, "listed": LISTED, "log": [], "status": 0,
}  # fmt: skip
INFO = 'time="2026-11-21T11:00:00Z" level=info msg="Starting k3s v1.33.5+k3s1"'
FATAL = 'time="2026-11-21T11:00:01Z" level=fatal msg="starting kubernetes: \\"token\\" is of another cluster"'
WARNING = 'time="2026-11-21T11:00:02Z" level=warning msg="going down"'


def verdict(identity: bytes | None = f'{{"uid":"{UID}"}}'.encode(), **report: Any) -> Started:
    redact = Redactor([Secret("K10-the-token")])
    return judge({**READY, **report}, identity=identity, redact=redact, start_timeout_s=180)


def fault(**report: Any) -> RehearsalError:
    with pytest.raises(RehearsalError) as caught:
        verdict(**report)
    assert caught.value.was_started
    return caught.value


def test_what_is_ready_and_the_same_cluster_has_started() -> None:
    assert verdict() == Started(7.5, LISTED)


def test_where_nobody_can_tell_the_cluster_it_counts_as_the_same() -> None:
    assert verdict(None).seconds == 7.5


@pytest.mark.parametrize("told", ["", "9d4e0000-0000-4000-a000-000000000000"])
def test_another_cluster_is_none(told: str) -> None:
    assert fault(cluster_id=told).code == "E-REHEARSE-IDENTITY"


@pytest.mark.parametrize(
    ("report", "code", "words"),
    [
        (
            {"outcome": "ended", "status": 1, "log": [INFO, FATAL]},
            "E-REHEARSE-ENDED",
            'k3s ended with status 1: starting kubernetes: "token" is of another cluster',
        ),
        (
            {"outcome": "late", "said": "the API does not answer", "log": [INFO]},
            "E-REHEARSE-TIMEOUT",
            "k3s was not ready within 180 s (the API does not answer); it last said: Starting k3s v1.33.5+k3s1",
        ),
        (
            {"outcome": "late", "log": []},
            "E-REHEARSE-TIMEOUT",
            "k3s was not ready within 180 s; it last said: it logged nothing",
        ),
        (
            {"outcome": "reset", "log": [FATAL]},
            "E-REHEARSE-ETCD",
            'k3s did not make its etcd from the snapshot: starting kubernetes: "token" is of another cluster',
        ),
        (
            {"outcome": "refused", "said": "/api/v1/secrets: unable to transform key"},
            "E-REHEARSE-API",
            "k3s started, but does not give its objects: /api/v1/secrets: unable to transform key",
        ),
    ],
    ids=lambda item: item if isinstance(item, str) and item.startswith("E-") else "",
)
def test_each_end_has_its_code_and_its_sentence(report: dict[str, Any], code: str, words: str) -> None:
    found = fault(**report)
    assert (found.code, found.message) == (code, words)
    assert found.hint


def test_secrets_are_taken_out_of_everything() -> None:
    found = fault(outcome="late", said="K10-the-token", log=[f"{INFO} K10-the-token", "K10-the-token"])
    assert "K10-the-token" not in found.message + "".join(found.log)
    assert "***" in found.message


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ([INFO, FATAL, WARNING], 'starting kubernetes: "token" is of another cluster'),
        ([INFO, "E1121 11:00:00.000001      17 run.go:72] flag is unknown", WARNING], "flag is unknown"),
        ([INFO, "panic: index out of range", "goroutine 1 [running]:"], "panic: index out of range"),
        ([INFO, WARNING, ""], "going down"),
        (["extracting data: no space left"], "extracting data: no space left"),
        (['level=fatal msg="cut off in the mid'], 'level=fatal msg="cut off in the mid'),
        ([], "it logged nothing"),
    ],
)  # fmt: skip
def test_the_line_that_says_most_is_shown(log: list[str], line: str) -> None:
    assert telling_line(log) == line
