"""RunnerEvent: what we read of an event of ansible-runner; the rest is dropped where it enters.

The keys that begin with `edge_` are the contract with the collection: `edge_refusals` (preflight's, all at once),
`edge_code`, `edge_hint` and `edge_retry` (any other failure), `edge_observation` (the report that makes an attempt
a success; a failed one may carry it too), `edge_resume_s` (nothing has failed, but the node goes on by itself: ask it
again after so many seconds), `edge_steps`, `edge_checks`, `edge_changes` and `edge_log` (for the log).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum
from typing import Any

from edgemgr.errors import Retry
from edgemgr.runner.plain import plain, text

_CODE = re.compile(r"E-[A-Z0-9]+(-[A-Z0-9]+)*")
_CODE_MAX = 64
_LINE_MAX_BYTES = 1024
_LIST_MAX = 100
_SECONDS_MAX = 10 * 86400
_NEW_FILE_MAX_LINES = 12
_RESUME_S = (5, 3600)  #: whatever a node asks for, it is asked again neither sooner nor later
_WAITS_S = (60, 14 * 86400)


class EventKind(StrEnum):
    """Which of the events of ansible-runner it was, by its name there."""

    PLAY = "playbook_on_play_start"
    BEGINS = "runner_on_start"
    OK = "runner_on_ok"
    SKIPPED = "runner_on_skipped"
    FAILED = "runner_on_failed"
    UNREACHABLE = "runner_on_unreachable"
    STATS = "playbook_on_stats"
    TEXT = "verbose"  #: a line that belongs to no event, such as a playbook that cannot be read


_KINDS = {kind.value: kind for kind in EventKind}
_TEXT_EVENTS = frozenset({"verbose", "debug", "warning", "system_warning", "deprecated", "error"})


@dataclass(frozen=True)
class Refusal:
    """One thing that preflight will not accept."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class TaskResult:
    """What a task said about one site; every text is bounded and free of control characters."""

    changed: bool = False
    message: str = ""
    stderr: str = ""
    rc: int | None = None
    code: str = ""
    hint: str = ""
    retry: Retry = Retry.BUDGETED
    is_raw: bool = False  #: no module answered: what is there came from the shell, sudo, ssh or Ansible itself
    refusals: tuple[Refusal, ...] = ()
    details: tuple[str, ...] = ()
    diff: str = ""
    observation: dict[str, Any] | None = None
    resume_s: int | None = None
    waits_s: int | None = None  #: nothing was begun: its hours come after so many seconds


@dataclass(frozen=True)
class RunnerEvent:
    """One event. `host` is the alias of a Target, empty where the event is not about one."""

    kind: EventKind
    host: str = ""
    role: str = ""
    task: str = ""
    is_ignored: bool = False
    result: TaskResult = TaskResult()
    text: str = ""
    lost: frozenset[str] = frozenset()  #: STATS: hosts that could not be reached


def read_event(raw: Mapping[str, Any]) -> RunnerEvent | None:
    """The event as we know it; None for the many that nobody reads."""
    name = str(raw.get("event"))
    if name in _TEXT_EVENTS:
        return RunnerEvent(EventKind.TEXT, text=text(raw.get("stdout"), _LINE_MAX_BYTES))
    kind = _KINDS.get(name)
    if kind is None:
        return None
    data = _dict(raw.get("event_data"))
    if kind is EventKind.STATS:
        return RunnerEvent(kind, lost=frozenset(_dict(data.get("dark"))))
    return RunnerEvent(
        kind,
        host=text(data.get("host"), _LINE_MAX_BYTES),
        role=text(data.get("role"), _LINE_MAX_BYTES).rpartition(".")[2],
        task=text(data.get("task"), _LINE_MAX_BYTES),
        is_ignored=data.get("ignore_errors") is True,
        result=_result(_dict(data.get("res"))),
    )


def _result(res: Mapping[str, Any]) -> TaskResult:
    message = text(res.get("msg"))
    observation = plain(res.get("edge_observation"))
    rc = res.get("rc")
    return TaskResult(
        changed=res.get("changed") is True,
        message=message,
        stderr=text(res.get("module_stderr")) or text(res.get("stderr")),
        rc=rc if isinstance(rc, int) else None,
        code=_code(res.get("edge_code")),
        hint=text(res.get("edge_hint"), _LINE_MAX_BYTES),
        retry=Retry.NEVER if res.get("edge_retry") == Retry.NEVER else Retry.BUDGETED,
        is_raw="module_stderr" in res or message.startswith("Task failed: "),
        refusals=tuple(_refusal(_dict(item)) for item in _list(res.get("edge_refusals"))),
        details=(
            *(_step(_dict(item)) for item in _list(res.get("edge_steps"))),
            *(_check(_dict(item)) for item in _list(res.get("edge_checks"))),
            *(text(item, _LINE_MAX_BYTES) for key in ("edge_changes", "edge_log") for item in _list(res.get(key))),
        ),
        diff=_diff(res.get("diff")),
        observation=observation if isinstance(observation, dict) else None,
        resume_s=_bounded(res.get("edge_resume_s"), _RESUME_S),
        waits_s=_bounded(res.get("edge_waits_s"), _WAITS_S),
    )


def _bounded(value: object, bounds: tuple[int, int]) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    least, most = bounds
    return min(max(value, least), most)


def _refusal(item: Mapping[str, Any]) -> Refusal:
    return Refusal(
        _code(item.get("code")), text(item.get("message"), _LINE_MAX_BYTES), text(item.get("hint"), _LINE_MAX_BYTES)
    )


def _check(item: Mapping[str, Any]) -> str:
    return " ".join(text(item.get(key), _LINE_MAX_BYTES) for key in ("verdict", "check", "detail"))


def _step(item: Mapping[str, Any]) -> str:
    seconds = item.get("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, int | float) and 0 <= seconds < _SECONDS_MAX else "?"
    changed = " (changed)" if item.get("changed") is True else ""
    return f"{took:>8}  {text(item.get('step'), _LINE_MAX_BYTES)}{changed}"


def _diff(value: object) -> str:
    """What a task changed, line by line; of a new file that is long, how long it is."""
    parts: list[str] = []
    for item in map(_dict, value if isinstance(value, list) else [value]):
        before, after = (text(item.get(side)).splitlines() for side in ("before", "after"))
        name = text(item.get("after_header") or item.get("before_header"), _LINE_MAX_BYTES)
        if not before and len(after) > _NEW_FILE_MAX_LINES:
            parts.append(f"new: {name} ({len(after)} lines)")
        elif before != after:
            changed = unified_diff(before, after, name, name, n=1, lineterm="")
            parts += [line for line in changed if not line.startswith("@@")]
        parts.append(text(item.get("prepared")))
    return text("\n".join(filter(None, parts)))


def _code(value: object) -> str:
    code = value if isinstance(value, str) else ""
    return code if len(code) <= _CODE_MAX and _CODE.fullmatch(code) else ""


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value[:_LIST_MAX] if isinstance(value, list) else []
