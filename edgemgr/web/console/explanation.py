"""Why a site does not move: one sentence and the next step. Pure rules, the first that fits."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Health, Reachability, UpdateStatus
from edgemgr.model.operation import GOES_ON, Operation, OperationKind, OperationState, Priority, WaitingFor
from edgemgr.model.site import Trust
from edgemgr.store.queries import SiteRow
from edgemgr.web.rendering import ago, span, utc


@dataclass(frozen=True)
class Explanation:
    """What is the matter, and what to do about it. `tone` is one of good, busy, wait, warn, bad."""

    tone: str
    sentence: str
    next_step: str = ""
    command: str = ""


def explain(
    row: SiteRow, operations: Sequence[Operation], attempt: Attempt | None, *, has_worker: bool, now: datetime
) -> Explanation:
    """Explain a site.

    Args:
        row: the site as lists show it.
        operations: its operations, the newest first.
        attempt: the newest attempt among them.
        has_worker: somebody runs operations.
        now: the present.
    """
    if row.trust == Trust.MISMATCH:
        return Explanation(
            "bad",
            "Another host answered than the one that is pinned: everything for this site is stopped.",
            "Find out why at the site itself. If the host was replaced, compare the fingerprint and pin the new key.",
            f"{_command('site trust', row.name)} --fingerprint SHA256:… --reason WHY",
        )
    head = next((operation for operation in operations if operation.is_head), None)
    is_routine = head is not None and head.kind == OperationKind.PROBE and head.priority == Priority.BACKGROUND
    if head is not None and not is_routine:
        return _under_way(row, head, attempt, has_worker=has_worker, now=now)
    ended = next((op for op in operations if op.finished_at and op.kind != OperationKind.PROBE), None)
    if ended is not None and ended.state in (OperationState.FAILED, OperationState.EXPIRED):
        return Explanation(
            "bad",
            f"{_title(ended.kind)} {ended.state} {ago(ended.finished_at, now)}: {ended.message or 'no reason given'}",
            ended.hint or "Look at the log below, mend the cause, then ask again.",
            f"edgemgr operation retry {ended.id}",
        )
    return _at_rest(row)


def _under_way(
    row: SiteRow, head: Operation, attempt: Attempt | None, *, has_worker: bool, now: datetime
) -> Explanation:
    title = _title(head.kind)
    if head.state == OperationState.RUNNING:
        return _running(title, head, attempt, now)
    if not has_worker:
        return Explanation(
            "warn", f"{title} waits, and nothing runs that could take it up.", "Start a worker.", "edgemgr worker"
        )
    why = f": {head.message}" if head.message else ""
    if head.waiting_for == WaitingFor.CONTACT:
        return Explanation(
            "wait",
            f"{title} waits until the site answers{why}",
            f"Nothing to do: the site is tried again and again, and {head.kind} starts within seconds when it answers. "
            f"That is given up on {utc(head.deadline_at)}.",
        )
    if head.waiting_for == WaitingFor.RESUME:
        return Explanation(
            "wait",
            f"{title} waits: an operator paused this site{f', {row.paused_why}' if row.paused_why else ''}.",
            "It goes on when the site is resumed:",
            _command("queue resume", row.name),
        )
    if head.waiting_for == WaitingFor.BACKOFF:
        return _paused(title, head, why, now)
    if head.waiting_for == WaitingFor.WINDOW:
        turn, then = f"{title} waits: {head.message}.", "it goes on by itself when the window opens."
    else:
        turn, then = f"{title} waits for its turn.", "it starts when a worker is free."
    return Explanation("wait", turn, f"Nothing to do: {then}")


def _paused(title: str, head: Operation, why: str, now: datetime) -> Explanation:
    if head.code == GOES_ON:
        return Explanation("busy", f"{title} is under way at the site{why}", head.hint)
    return Explanation(
        "wait",
        f"{title} is tried again {ago(head.not_before, now) if head.not_before > now else 'now'}{why}",
        head.hint or "To try at once:",
        f"edgemgr operation retry {head.id}",
    )


def _running(title: str, head: Operation, attempt: Attempt | None, now: datetime) -> Explanation:
    stopping = "; it is asked to stop" if head.cancel_requested else ""
    if head.kind == OperationKind.STAGE:
        return Explanation(
            "busy",
            f"A bundle is on its way to the site (attempt {head.attempts}){stopping}.",
            "How far it has come is shown below. It gives way to everything else that is asked of the site.",
        )
    has_log = attempt is not None and attempt.operation_id == head.id
    since = f" for {span((now - attempt.started_at).total_seconds())}" if attempt and has_log else ""
    return Explanation(
        "busy",
        f"{title} has been running{since} (attempt {head.attempts}){stopping}.",
        "Its log is below." if has_log else "",
    )


def _at_rest(row: SiteRow) -> Explanation:
    if row.trust != Trust.PINNED:
        return Explanation(
            "warn",
            "The host key of this site is not pinned, so nothing is sent to it.",
            "Compare the fingerprint that the host shows with one that you got another way, and pin it.",
            _command("site trust", row.name),
        )
    if row.reachability == Reachability.UNREACHABLE:
        return Explanation(
            "wait",
            f"The site does not answer: {row.reachability_reason or 'no connection'}",
            "Nothing is owed to it. What is shown here is as old as the last contact. To look now:",
            _command("probe", row.name),
        )
    if not row.k3s_version:
        return Explanation(
            "warn",
            "No k3s was seen here yet.",
            "Bring it up; `edgemgr release list` shows the versions.",
            f"{_command('bootstrap', row.name)} --version VERSION",
        )
    if row.health in (Health.FAILING, Health.DEGRADED):
        return Explanation(
            "bad" if row.health == Health.FAILING else "warn",
            f"k3s is {row.health}: {row.health_reason or 'no reason given'}",
            "Look thoroughly, on the node itself:",
            _command("verify", row.name),
        )
    if row.update == UpdateStatus.OUT_OF_DATE:
        return Explanation(
            "warn", f"The site runs {row.k3s_version}, but {row.k3s_desired} is wanted.", "Nothing is under way for it."
        )
    return Explanation("good", "All is well; nothing is owed to this site.")


def _title(kind: str) -> str:
    return kind.capitalize()


def _command(words: str, name: str) -> str:
    return f"edgemgr {words} {shlex.quote(name)}"
