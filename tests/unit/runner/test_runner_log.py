"""The log of an attempt: readable while it is written and after, bounded, and without our secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target
from edgemgr.runner import log as log_module
from edgemgr.runner.events import EventKind, RunnerEvent, TaskResult, read_event
from edgemgr.runner.log import LOG_MAX_BYTES, AttemptLog, follow_log, read_log
from edgemgr.runner.redact import Redactor, redactor

DONE = AttemptResult(Outcome.FAILED, code="E-X", message="broken", hint="mend it")
FAILED = RunnerEvent(
    EventKind.FAILED, role="k3s", task="Converge", result=TaskResult(message="no", stderr="line 1\nline 2")
)


def open_log(directory: Path, attempt_id: int = 12345, secrets: tuple[str, ...] = ()) -> AttemptLog:
    return AttemptLog(directory, attempt_id, Redactor(map(Secret, secrets)))


def bodies(directory: Path, attempt_id: int = 12345) -> list[str]:
    return [line if line.startswith("    | ") else line[21:] for line in read_log(directory, attempt_id)]


EXPECTED = ["failed      k3s: Converge", "    | no", "    | line 1", "    | line 2"]


def test_a_log_is_read_while_it_is_written_and_when_it_is_compressed(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.event(FAILED)
    assert (tmp_path / "12" / "12345.log").stat().st_mode & 0o777 == 0o600
    assert bodies(tmp_path) == EXPECTED
    log.close(DONE)
    assert [path.name for path in (tmp_path / "12").iterdir()] == ["12345.log.zst"]
    assert bodies(tmp_path) == [*EXPECTED, "failed      E-X broken", "    | mend it"]


def test_a_message_of_several_lines_cannot_pass_for_other_entries(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.close(AttemptResult(Outcome.FAILED, message="a\n2026-01-01T00:00:00Z ok b"))
    assert bodies(tmp_path) == ["failed      a", "    | 2026-01-01T00:00:00Z ok b"]


def test_an_attempt_without_a_log_has_no_lines(tmp_path: Path) -> None:
    assert list(read_log(tmp_path, 1)) == []


def test_following_goes_on_across_the_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    steps: list[Callable[[], None]] = [lambda: log.event(FAILED), lambda: log.close(DONE)]
    monkeypatch.setattr(log_module.time, "sleep", lambda _s: steps.pop(0)())
    lines = list(follow_log(tmp_path, 12345, lambda: not steps))
    assert lines == list(read_log(tmp_path, 12345))
    assert lines[-1] == "    | mend it"


def test_following_a_log_that_begins_late_or_never_ends_with_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs: list[AttemptLog] = []
    steps: list[Callable[[], None]] = [
        lambda: logs.append(open_log(tmp_path)),
        lambda: logs[0].event(FAILED),
        lambda: logs[0].close(DONE),
    ]
    monkeypatch.setattr(log_module.time, "sleep", lambda _s: steps.pop(0)())
    assert len(list(follow_log(tmp_path, 12345, lambda: not steps))) == 6
    assert list(follow_log(tmp_path, 999, lambda: True)) == []


def test_a_log_is_bounded_and_says_where_it_ends(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    flood = RunnerEvent(EventKind.OK, task="t", result=TaskResult(message="x" * 60_000))
    for _ in range(100):
        log.event(flood)
    assert (tmp_path / "12" / "12345.log").stat().st_size <= LOG_MAX_BYTES + 100
    log.close(DONE)
    assert list(read_log(tmp_path, 12345))[-1] == "    | [the log is full: 4 MiB; the rest is not kept]"


def test_our_secrets_do_not_get_into_a_log(tmp_path: Path) -> None:
    log = open_log(tmp_path, secrets=("hunter2-canary",))
    log.event(RunnerEvent(EventKind.OK, task="hunter2-canary", result=TaskResult(message="a hunter2-canary b")))
    log.close(DONE)
    assert "hunter2" not in "".join(read_log(tmp_path, 12345))


def test_any_line_of_a_key_is_a_secret_and_its_frame_is_not() -> None:
    key = Secret("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAlineone\nBBBBlinetwo\n-----END OPENSSH PRIVATE KEY-----\n")
    target = Target(1, "s", "a", 22, "root", "k", private_key=key, password=Secret("pa.s+word"))
    redact = redactor(target)
    assert redact("x BBBBlinetwo y pa.s+word z -----END") == "x *** y *** z -----END"


def test_a_log_directory_that_cannot_be_written_does_not_stop_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "12").write_text("in the way")
    log = open_log(tmp_path)
    log.event(FAILED)
    log.close(DONE)
    assert list(read_log(tmp_path, 99999)) == []


def test_a_change_is_shown_line_by_line_and_a_long_new_file_by_its_length() -> None:
    changed = {"before": "a\nb\n", "after": "a\nc\n", "after_header": "/etc/x"}
    new = {"before": "", "after": "line\n" * 40, "after_header": "/etc/y"}
    event = read_event({"event": "runner_on_ok", "event_data": {"host": "h", "res": {"diff": [changed, new]}}})
    assert event is not None
    assert event.result.diff.splitlines() == ["--- /etc/x", "+++ /etc/x", " a", "-b", "+c", "new: /etc/y (40 lines)"]
