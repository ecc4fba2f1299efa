"""What is known of the activation at hand, or of the last one, for whoever asks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_journal, activation_paths, activation_plan
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    remove,
    sync_directory,
)

WRITTEN = "written"  # the plan is there, and nothing of it was begun
RUNNING = "running"
INTERRUPTED = "interrupted"  # begun, and nobody is at work: it goes on by itself in seconds, or after the boot
FINISHED = "finished"


def plan() -> Plan | None:
    """The plan at hand, or the last one."""
    content = read_or_none(activation_paths.plan())
    return None if content is None else activation_plan.read(content.decode())


def verdict(number: int) -> dict[str, Any] | None:
    """How this plan ended, None while it has not."""
    content = read_or_none(activation_paths.verdict())
    if content is None:
        return None
    found: dict[str, Any] = json.loads(content.decode())
    return found if found["id"] == number else None


def ask() -> dict[str, Any] | None:
    """Everything about the activation: id, operation, state, journal and verdict; None when there was none."""
    known = plan()
    if known is None:
        return None
    journal = activation_journal.read(known.number)
    ended = verdict(known.number)
    if ended is not None:
        state = FINISHED
    elif _is_held():
        state = RUNNING
    else:
        state = INTERRUPTED if journal else WRITTEN
    return {"id": known.number, "operation": known.operation, "state": state, "verdict": ended, "journal": journal}


def is_unfinished() -> bool:
    """Whether there is a plan without a verdict: nothing else may change k3s on this node."""
    known = plan()
    return known is not None and verdict(known.number) is None


def is_under_way() -> bool:
    """Whether a plan was begun and has no verdict: until then nobody else may change k3s on this node."""
    known = ask()
    return known is not None and known["state"] in (RUNNING, INTERRUPTED)


def withdraw_unbegun() -> None:
    """Remove a plan that was written and never begun, so that no boot takes it up. Whoever calls holds the fence."""
    if not is_unfinished():
        return
    with alone() as is_alone:
        found = ask() if is_alone else None
        if found is not None and found["verdict"] is None and not found["journal"]:
            remove(activation_paths.plan())
            sync_directory(activation_paths.directory())


@contextlib.contextmanager
def alone() -> Iterator[bool]:
    """Be the one process that carries out the plan; False when there is one already. Ends with the process."""
    make_directory(activation_paths.directory(), 0o700)
    descriptor = os.open(activation_paths.lock(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _is_held() -> bool:
    try:
        descriptor = os.open(activation_paths.lock(), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
