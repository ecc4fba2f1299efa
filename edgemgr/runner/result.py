"""Result: evidence becomes an AttemptResult. Pure; the first rule that matches wins.

Never from an exit code: ansible-runner 2.4.3 ends "failed", rc 4, for an unreachable site and for a playbook that
cannot be read alike, and "successful", rc 0, when no host matched. Success needs the report's own word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from edgemgr.errors import EdgemgrError, Retry
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.cluster import Health, Observation
from edgemgr.model.operation import GOES_ON, WaitingFor
from edgemgr.runner.events import EventKind, RunnerEvent, TaskResult
from edgemgr.runner.plain import text
from edgemgr.runner.ssh_faults import when_raw, when_unreachable

_FIELD_MAX_BYTES = 1024
_HEALTH = {health.value: health for health in Health}


class Ending(StrEnum):
    """Why the process ended."""

    DONE = "done"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"  #: killed by a signal, or ansible-runner raised


@dataclass(frozen=True)
class RunEnd:
    """What is known when the process is gone."""

    ending: Ending
    has_begun: bool = False  #: a play was started
    stats: RunnerEvent | None = None
    output: str = ""  #: the last lines that belong to no event
    limit_s: float = 0.0  #: TIMED_OUT: the time that it had


def by_event(event: RunnerEvent, *, site: str, changed: bool, now: datetime) -> AttemptResult | None:
    """What one event settles; `changed`: a task of this attempt, this one included, has changed the site."""
    result = event.result
    match event.kind:
        case EventKind.UNREACHABLE:
            return replace(when_unreachable(result.message, site), changed=changed)
        case EventKind.FAILED if not event.is_ignored:
            return replace(_failed(event, site, changed=changed), observation=_reported(result, now))
        case EventKind.OK if result.observation is not None:
            return AttemptResult(Outcome.SUCCEEDED, changed=changed, observation=_reported(result, now))
        case EventKind.OK if result.resume_s is not None:
            return _goes_on(result, result.resume_s, changed=changed, now=now)
        case EventKind.OK if result.waits_s is not None:
            return _waits(result, result.waits_s, now=now)
        case _:
            return None


def by_end(end: RunEnd, *, host: str, site: str, changed: bool) -> AttemptResult:
    """What the end of the process settles for a site that no event has settled."""
    settled = _by_end(end, host, site)
    return replace(settled, changed=changed)


def by_error(error: EdgemgrError) -> AttemptResult:
    """The attempt could not be begun."""
    return AttemptResult(Outcome.FAILED, code=error.code, message=error.message, hint=error.hint, retry=error.retry)


def _reported(result: TaskResult, now: datetime) -> Observation | None:
    """The report, as far as it holds what it should. The time is ours: a node's clock may be wrong."""
    if result.observation is None:
        return None
    facts = dict(result.observation)
    health = facts.pop("health", None)
    fields = {
        name: text(facts.pop(name, None), _FIELD_MAX_BYTES)
        for name in ("health_reason", "k3s_version", "node_name", "arch", "os", "cluster_id")
    }
    return Observation(
        observed_at=now,
        health=_HEALTH.get(str(health), Health.UNKNOWN),
        health_reason=fields["health_reason"],
        k3s_version=fields["k3s_version"] or None,
        node_name=fields["node_name"] or None,
        arch=fields["arch"] or None,
        os=fields["os"] or None,
        cluster_id=fields["cluster_id"] or None,
        facts=facts,
    )


def _failed(event: RunnerEvent, site: str, *, changed: bool) -> AttemptResult:
    result = event.result
    if result.refusals:
        return _refused(result, changed=changed)
    if result.is_raw and not result.code:
        known = when_raw(f"{result.message}\n{result.stderr}", site)
        if known is not None:
            outcome = Outcome.FAILED if known.outcome is Outcome.REFUSED and changed else known.outcome
            return replace(known, outcome=outcome, changed=changed)
    where = f"{event.role}: {event.task}" if event.role else event.task
    last_line = result.stderr.strip().rpartition("\n")[2]
    return AttemptResult(
        Outcome.FAILED,
        code=result.code or "E-TASK-FAILED",
        message=result.message or last_line or f"the task {where!r} failed without a word",
        hint=result.hint or f"The task was {where!r}; `edgemgr operation logs` shows all that it said.",
        changed=changed,
        retry=result.retry,
    )


def _goes_on(result: TaskResult, resume_s: int, *, changed: bool, now: datetime) -> AttemptResult:
    """The node is at work without us: nothing has failed, and nothing is known yet. It costs time only."""
    return AttemptResult(
        Outcome.LOST,
        code=GOES_ON,
        message=result.message or "the node goes on by itself",
        hint="It needs no link for that; its result is asked for again and again.",
        changed=changed,
        retry=Retry.FREE,
        resume_at=now + timedelta(seconds=resume_s),
        resume_for=WaitingFor.BACKOFF,
    )


def _waits(result: TaskResult, waits_s: int, *, now: datetime) -> AttemptResult:
    """The node was reached outside of its hours, and has not begun."""
    return AttemptResult(
        Outcome.LOST,
        code="E-UPGRADE-CLOSED",
        message=result.message or "its hours have not come",
        hint="It begins by itself when its hours come.",
        retry=Retry.FREE,
        resume_at=now + timedelta(seconds=waits_s),
        resume_for=WaitingFor.WINDOW,
    )


def _refused(result: TaskResult, *, changed: bool) -> AttemptResult:
    first = result.refusals[0]
    return AttemptResult(
        Outcome.FAILED if changed else Outcome.REFUSED,  # a refusal promises that nothing was changed
        code=first.code or "E-TASK-FAILED",
        message="; ".join(refusal.message for refusal in result.refusals),
        hint=first.hint,
        changed=changed,
        retry=Retry.BUDGETED if changed else Retry.NEVER,
    )


def _by_end(end: RunEnd, host: str, site: str) -> AttemptResult:
    if end.ending is Ending.CANCELED:
        return AttemptResult(Outcome.CANCELED, message="canceled while it ran", retry=Retry.NEVER)
    if end.ending is Ending.TIMED_OUT:
        return AttemptResult(
            Outcome.TIMED_OUT,
            code="E-RUNNER-TIMEOUT",
            message=f"{site} was not done {end.limit_s:g} s after its first task had begun",
            hint="`edgemgr operation logs` shows where it stood. Its connection was cut, what ran there was ended.",
        )
    if end.ending is Ending.DONE and not end.has_begun:
        return AttemptResult(
            Outcome.FAILED,
            code="E-RUNNER-PLAYBOOK",
            message=f"Ansible could not begin with the playbook: {end.output.strip() or 'it said nothing'}",
            hint="A fault of the playbooks, not of the site: report it, with this message.",
            retry=Retry.NEVER,
        )
    if end.stats is not None and host in end.stats.lost:
        return when_unreachable("", site)
    if end.ending is Ending.CRASHED:
        return AttemptResult(
            Outcome.FAILED,
            code="E-RUNNER-CRASH",
            message="the Ansible process ended in the middle",
            hint="The appliance may be short of memory (`dmesg`); the next attempt goes on.",
        )
    return AttemptResult(
        Outcome.FAILED,
        code="E-RUNNER-NO-REPORT",
        message=f"the playbook ended without a report from {site}",
        hint="A fault of the playbooks, not of the site: report it, with the log.",
    )
