"""The journal of an activation: what has happened, one synced line for each event. Where to go on is read from it."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_node import Clock
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import (
    make_directory,
    read_or_none,
    remove,
    sync_directory,
)

BEGINS = "begins"
DONE = "done"
FAILED = "failed"
RESUMED = "resumed"


def read(number: int | None = None) -> list[dict[str, Any]]:
    """The events of this plan (of any plan without a number) that are whole. Changes nothing."""
    events, _ = _whole(read_or_none(activation_paths.journal()) or b"")
    return [each for each in events if number in (None, each["plan"])]


class Journal:
    """Appends events; what is in it when it is opened are the events of earlier processes."""

    def __init__(self, number: int, clock: Clock) -> None:
        self._number = number
        self._clock = clock
        self._mend()
        self.events = read(number)

    def note(self, hop: int, step: str, event: str, **more: Any) -> None:
        """Add an event; it is durable when this returns."""
        boot, up = self._clock.boot()
        at = dt.datetime.fromtimestamp(self._clock.now(), dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"at": at, "plan": self._number, "hop": hop, "step": step, "event": event, "boot": boot}
        entry.update(more, up=round(up, 2))
        line = json.dumps(entry, sort_keys=True).encode() + b"\n"
        try:
            _append(line)
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            remove(activation_paths.journal_reserve())
            self._mend()
            _append(line)
        self.events.append(entry)

    @staticmethod
    def _mend() -> None:
        """Cut off the line that was being written when the power went: the next one has to begin on its own."""
        content = read_or_none(activation_paths.journal())
        if content is None:
            return
        _, length = _whole(content)
        if length < len(content):
            descriptor = os.open(activation_paths.journal(), os.O_RDWR)
            try:
                os.ftruncate(descriptor, length)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _append(line: bytes) -> None:
    path = activation_paths.journal()
    is_new = not os.path.exists(path)
    make_directory(os.path.dirname(path), 0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(os.path.dirname(path))


def _whole(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The events up to the first that is damaged, and how many bytes they take."""
    events, length = [], 0
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not {"plan", "hop", "step", "event", "boot", "up"} <= set(entry):
            break
        events.append(entry)
        length += len(line)
    return events, length
