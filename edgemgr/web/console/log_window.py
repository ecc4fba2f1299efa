"""A bounded part of an attempt's log, ready for a page."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edgemgr.runner.log import read_log

#: Lines that one answer carries at most.
WINDOW_LINES = 300
_LINE_MAX = 2000

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_VERDICT = re.compile(r"^\S+Z (\w+)")
_TONES = {
    "failed": "bad",
    "unreachable": "bad",
    "refused": "bad",
    "timed_out": "bad",
    "lost": "bad",
    "changed": "busy",
    "succeeded": "good",
}


@dataclass(frozen=True)
class LogLine:
    """One line without line break. `tone` is empty, good, busy, bad or detail."""

    text: str
    tone: str


@dataclass(frozen=True)
class LogWindow:
    """Lines `first` up to `after`, counted from 0."""

    lines: list[LogLine]
    first: int
    after: int

    @property
    def is_full(self) -> bool:
        """There may be more lines than these."""
        return len(self.lines) == WINDOW_LINES


def last_lines(log_dir: Path, attempt_id: int) -> LogWindow:
    """The end of a log as it is now."""
    kept: deque[str] = deque(maxlen=WINDOW_LINES)
    after = 0
    for after, text in enumerate(read_log(log_dir, attempt_id), start=1):  # noqa: B007 - it counts
        kept.append(text)
    return LogWindow([_line(text) for text in kept], after - len(kept), after)


def next_lines(log_dir: Path, attempt_id: int, start: int) -> LogWindow:
    """The lines from number `start` on, as many as one answer carries."""
    found = [_line(text) for text in islice(read_log(log_dir, attempt_id), start, start + WINDOW_LINES)]
    return LogWindow(found, start, start + len(found))


def _line(text: str) -> LogLine:
    shown = "".join(c if c.isprintable() or c == "\t" else "�" for c in _ESCAPES.sub("", text[:_LINE_MAX]))
    if text.startswith("    |"):
        return LogLine(shown, "detail")
    verdict = _VERDICT.match(shown)
    return LogLine(shown, _TONES.get(verdict[1], "") if verdict else "")
