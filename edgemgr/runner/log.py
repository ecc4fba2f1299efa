"""Log: what each attempt went through, line by line while it runs, compressed when it is settled.

One directory for a thousand attempts: a directory of a million files is slow to list and to back up.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import zstandard

from edgemgr.model.attempt import AttemptResult
from edgemgr.model.timestamp import utc_now
from edgemgr.runner.events import EventKind, RunnerEvent, TaskResult
from edgemgr.runner.redact import Redactor

LOG_MAX_BYTES = 4 * 1024 * 1024
FOLLOW_PAUSE_S = 0.25
_PER_DIRECTORY = 1000
_VERDICTS = {
    EventKind.BEGINS: "begins",
    EventKind.OK: "ok",
    EventKind.SKIPPED: "skipped",
    EventKind.FAILED: "failed",
    EventKind.UNREACHABLE: "unreachable",
}


class AttemptLog:
    """Writes the log of one attempt. A disk that is full ends the log, never the attempt."""

    def __init__(self, log_dir: Path, attempt_id: int, redact: Redactor) -> None:
        self._path = _path(log_dir, attempt_id)
        self._redact = redact
        self._left_bytes = LOG_MAX_BYTES
        self._file: TextIO | None = None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(handle, "a", encoding="utf-8", buffering=1)
        except OSError:
            return

    def event(self, event: RunnerEvent) -> None:
        """Write one event about this attempt's site."""
        verdict = _VERDICTS.get(event.kind)
        if verdict is not None:
            changed = event.kind is EventKind.OK and event.result.changed
            where = f"{event.role}: {event.task}" if event.role else event.task
            self._write("changed" if changed else verdict, where, _details(event.result))

    def close(self, result: AttemptResult) -> None:
        """Write the outcome, and compress what there is."""
        first, _, rest = result.message.partition("\n")
        self._write(result.outcome.value, " ".join(filter(None, (result.code, first))), f"{rest}\n{result.hint}")
        if self._file is not None:
            try:
                self._file.close()
                _compress(self._path)
            except OSError:
                pass  # the plain log stays, and is read as well
            self._file = None

    def leave(self) -> None:
        """Close it without an end: another batch goes on with it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _write(self, verdict: str, subject: str, details: str) -> None:
        if self._file is None or self._left_bytes <= 0:
            return
        lines = [f"{utc_now():%Y-%m-%dT%H:%M:%SZ} {verdict:<11} {subject}\n"]
        lines += [f"    | {line}\n" for line in details.splitlines() if line.strip()]
        written = self._redact("".join(lines))
        self._left_bytes -= len(written.encode())
        if self._left_bytes <= 0:
            written = f"    | [the log is full: {LOG_MAX_BYTES // 1024**2} MiB; the rest is not kept]\n"
        try:
            self._file.write(written)
        except OSError:
            self._left_bytes = 0


def read_log(log_dir: Path, attempt_id: int) -> Iterator[str]:
    """The lines of a log as it is now, without their line breaks; none where there is no log."""
    file = _open(_path(log_dir, attempt_id))
    if file is not None:
        with file:
            for line in file:
                yield line.rstrip("\n")


def follow_log(log_dir: Path, attempt_id: int, is_ended: Callable[[], bool]) -> Iterator[str]:
    """The lines of a log as they come, until the attempt has ended and all is read."""
    path = _path(log_dir, attempt_id)
    file: TextIO | None = None
    rest = ""
    try:
        while True:
            ended = is_ended()  # asked before reading: what was written until then is read below
            file = file or _open(path)
            # An opened log stays whole when it is compressed: the name goes, the file does not.
            *lines, rest = (rest + (file.read() if file else "")).split("\n")
            yield from lines
            if ended:
                break
            time.sleep(FOLLOW_PAUSE_S)
        if rest:
            yield rest
    finally:
        if file is not None:
            file.close()


def _details(result: TaskResult) -> str:
    refusals = (f"{refusal.code} {refusal.message}" for refusal in result.refusals)
    return "\n".join((result.message, *refusals, *result.details, result.diff, result.stderr))


def _path(log_dir: Path, attempt_id: int) -> Path:
    return log_dir / str(attempt_id // _PER_DIRECTORY) / f"{attempt_id}.log"


def _compressed(path: Path) -> Path:
    return path.with_name(f"{path.name}.zst")


def _compress(path: Path) -> None:
    partial = path.with_name(f"{path.name}.part")
    with path.open("rb") as source, partial.open("wb") as target:
        os.fchmod(target.fileno(), 0o600)
        zstandard.ZstdCompressor().copy_stream(source, target)
    partial.replace(_compressed(path))
    path.unlink()


def _open(path: Path) -> TextIO | None:
    """The plain log, or the compressed one; that one second, since it comes before the other goes."""
    try:
        return path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        pass
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(_compressed(path).open("rb"), closefd=True)
    except FileNotFoundError:
        return None
    return io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
