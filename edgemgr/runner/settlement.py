"""Settlement: keeps the evidence of a batch apart by site, and hands out each result once, as soon as it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from edgemgr.errors import EdgemgrError
from edgemgr.model.attempt import AttemptResult
from edgemgr.model.timestamp import utc_now
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.events import EventKind, RunnerEvent
from edgemgr.runner.log import AttemptLog
from edgemgr.runner.progress import Progress
from edgemgr.runner.redact import redactor
from edgemgr.runner.result import Ending, RunEnd, by_end, by_error, by_event
from edgemgr.runner.ssh_faults import LOGIN_CODE

_logger = logging.getLogger(__name__)
#: Ansible needs seconds to begin; it hangs when it does nothing for so long.
IDLE_MAX_S = 180.0
_OUTPUT_MAX = 4096


class Settlement:
    """The open attempts of one batch. Used by one thread.

    A site is dismissed when it was settled, or given away, while Ansible still has it on its list: it must not be
    let in any more.
    """

    def __init__(self, batch: Batch, log_dir: Path, on_result: Callable[[int, AttemptResult], None]) -> None:
        self._on_result = on_result
        self._limit_s = batch.timeout_s
        self._withheld: set[str] = set()
        self._given_away: list[SiteRun] = []
        self.progress = Progress(time.monotonic())
        self.dismissed: set[str] = set()
        self._open = {run.target.alias: run for run in batch.runs}
        self._logs = {run.attempt_id: AttemptLog(log_dir, run.attempt_id, redactor(run.target)) for run in batch.runs}
        self._changed: set[str] = set()
        self._has_begun = False
        self._stats: RunnerEvent | None = None
        self._output = ""

    @property
    def is_complete(self) -> bool:
        """Every attempt is settled."""
        return not self._open

    @property
    def is_abandoned(self) -> bool:
        """Every attempt is settled, and what still runs belongs to dismissed ones."""
        return self.is_complete and bool(self.dismissed)

    @property
    def has_idled(self) -> bool:
        """Sites are open, yet for long Ansible has worked at none and begun none: it hangs itself."""
        idle_s = time.monotonic() - self.progress.moved_at
        return not self.is_complete and not self.progress.working and idle_s >= IDLE_MAX_S

    def take(self, event: RunnerEvent) -> None:
        """Read one event; settle its site where that is what it means."""
        match event.kind:
            case EventKind.PLAY:
                self._has_begun = True
            case EventKind.STATS:
                self._stats = event
            case EventKind.TEXT:
                self._output = f"{self._output}\n{event.text}"[-_OUTPUT_MAX:]
        self.progress.note(event, time.monotonic())
        run = self._open.get(event.host)
        if run is None:
            return
        self._logs[run.attempt_id].event(event)
        if event.result.changed:
            self._changed.add(event.host)
        settled = by_event(event, site=run.target.name, changed=event.host in self._changed, now=utc_now())
        if settled is None:
            return
        if settled.code == LOGIN_CODE and event.host in self._withheld:
            self._give_away(run)  # it was begun when its key had gone already: nothing was done there
            return
        self.progress.finished(event.host, time.monotonic())
        self._settle(run, settled)

    def time_out(self) -> None:
        """Settle the sites whose time is over."""
        now = time.monotonic()
        for alias in [alias for alias in self._open if self.progress.is_over(alias, self._limit_s, now)]:
            self._dismiss(alias, Ending.TIMED_OUT)

    def withhold(self, forks: int) -> list[str]:
        """The sites that wait for a fork, if most forks are taken by slow ones: they are to be given away.

        Their keys have to go before `give_away` is called, and the events of that time be read: which of them have
        begun after all is certain only then.
        """
        waiting = [alias for alias in self._open if not self.progress.has_begun(alias)]
        if self._withheld or 2 * self.progress.slow(time.monotonic()) < forks:
            return []
        self._withheld.update(waiting)
        return waiting

    def give_away(self) -> tuple[SiteRun, ...]:
        """The withheld sites that were not begun; they are open no more."""
        for alias in [alias for alias in self._withheld if not self.progress.has_begun(alias)]:
            run = self._open.get(alias)
            if run is not None:
                self._give_away(run)
        given, self._given_away = tuple(self._given_away), []
        return given

    def cancel(self, is_canceled: Callable[[int], bool]) -> None:
        """Settle what was canceled. A question that fails is asked again the next time."""
        for alias, run in list(self._open.items()):
            try:
                asked = is_canceled(run.attempt_id)
            except Exception:
                _logger.exception("cannot tell whether attempt %d is canceled", run.attempt_id)
                return
            if asked:
                self._dismiss(alias, Ending.CANCELED)

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
        for alias in list(self._open):
            self._end(alias, ending)

    def _dismiss(self, alias: str, ending: Ending) -> None:
        self.dismissed.add(alias)
        self._end(alias, ending)

    def _end(self, alias: str, ending: Ending) -> None:
        run = self._open[alias]
        end = RunEnd(ending, self._has_begun, self._stats, self._output, self._limit_s)
        self._settle(run, by_end(end, host=alias, site=run.target.name, changed=alias in self._changed))

    def _give_away(self, run: SiteRun) -> None:
        alias = run.target.alias
        del self._open[alias]
        self._withheld.discard(alias)
        self.dismissed.add(alias)
        self._logs[run.attempt_id].leave()
        self._given_away.append(run)

    def _settle(self, run: SiteRun, result: AttemptResult) -> None:
        del self._open[run.target.alias]
        self._logs[run.attempt_id].close(result)
        try:
            self._on_result(run.attempt_id, result)
        except Exception:
            _logger.exception("the result of attempt %d was not taken", run.attempt_id)
