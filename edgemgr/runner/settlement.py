"""Settlement: keeps the evidence of a batch apart by site, and hands out each result once, as soon as it is there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edgemgr.errors import EdgemgrError
from edgemgr.model.attempt import AttemptResult
from edgemgr.model.timestamp import utc_now
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.events import EventKind, RunnerEvent
from edgemgr.runner.log import AttemptLog
from edgemgr.runner.redact import redactor
from edgemgr.runner.result import Ending, RunEnd, by_end, by_error, by_event

_logger = logging.getLogger(__name__)
_OUTPUT_MAX = 4096


class Settlement:
    """The open attempts of one batch. Used by one thread."""

    def __init__(self, batch: Batch, log_dir: Path, on_result: Callable[[int, AttemptResult], None]) -> None:
        self._on_result = on_result
        self._open = {run.target.alias: run for run in batch.runs}
        self._logs = {run.attempt_id: AttemptLog(log_dir, run.attempt_id, redactor(run.target)) for run in batch.runs}
        self._changed: set[str] = set()
        self._has_begun = False
        self._has_canceled = False
        self._stats: RunnerEvent | None = None
        self._output = ""

    @property
    def is_complete(self) -> bool:
        """Every attempt is settled."""
        return not self._open

    @property
    def is_abandoned(self) -> bool:
        """Every attempt is settled, and what still runs belongs to a canceled one."""
        return self.is_complete and self._has_canceled

    def take(self, event: RunnerEvent) -> None:
        """Read one event; settle its site where that is what it means."""
        match event.kind:
            case EventKind.PLAY:
                self._has_begun = True
            case EventKind.STATS:
                self._stats = event
            case EventKind.TEXT:
                self._output = f"{self._output}\n{event.text}"[-_OUTPUT_MAX:]
        run = self._open.get(event.host)
        if run is None:
            return
        self._logs[run.attempt_id].event(event)
        if event.result.changed:
            self._changed.add(event.host)
        settled = by_event(event, site=run.target.name, changed=event.host in self._changed, now=utc_now())
        if settled is not None:
            self._settle(run, settled)

    def cancel(self, is_canceled: Callable[[int], bool]) -> None:
        """Settle what was canceled. A question that fails is asked again the next time."""
        for alias, run in list(self._open.items()):
            try:
                asked = is_canceled(run.attempt_id)
            except Exception:
                _logger.exception("cannot tell whether attempt %d is canceled", run.attempt_id)
                return
            if asked:
                self._has_canceled = True
                self._settle(run, by_end(RunEnd(Ending.CANCELED), host=alias, site="", changed=alias in self._changed))

    def refuse(self, attempt_id: int, error: EdgemgrError) -> None:
        """Settle an attempt that cannot be begun."""
        for run in [run for run in self._open.values() if run.attempt_id == attempt_id]:
            self._settle(run, by_error(error))

    def refuse_all(self, error: EdgemgrError) -> None:
        """Settle every attempt that is open: the batch cannot be begun."""
        for run in list(self._open.values()):
            self._settle(run, by_error(error))

    def finish(self, ending: Ending) -> None:
        """The process is gone: settle the rest by what is known now."""
        end = RunEnd(ending, self._has_begun, self._stats, self._output)
        for alias, run in list(self._open.items()):
            self._settle(run, by_end(end, host=alias, site=run.target.name, changed=alias in self._changed))

    def _settle(self, run: SiteRun, result: AttemptResult) -> None:
        del self._open[run.target.alias]
        self._logs[run.attempt_id].close(result)
        try:
            self._on_result(run.attempt_id, result)
        except Exception:
            _logger.exception("the result of attempt %d was not taken", run.attempt_id)
