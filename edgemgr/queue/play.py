"""One group of ready sites in one ansible-runner process, each settled by itself, and what that may leave behind."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edgemgr.errors import EdgemgrError
from edgemgr.inventory.key_scan import scan_site
from edgemgr.links.ending import end_attempt
from edgemgr.links.ssh import HostKeyMismatchError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.site import Site
from edgemgr.model.target import Target
from edgemgr.operations.spec import OperationSpec
from edgemgr.queue.arrivals import Ready
from edgemgr.queue.fault import internal_fault, result_of
from edgemgr.queue.slots import PATIENCE_S, Held, slots_of
from edgemgr.runner.ansible import run_batch
from edgemgr.runner.batch import Batch, HandOver, SiteRun
from edgemgr.settings import Settings
from edgemgr.store import attempts
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database, Session
from edgemgr.vault.vault import Vault

logger = logging.getLogger(__name__)

#: After these the node may still be at work for an attempt that is over.
_CUT_SHORT = frozenset({Outcome.CANCELED, Outcome.TIMED_OUT})


@dataclass(frozen=True)
class Player:
    """Plays the groups of one claim, each by itself. `begin` calls a function with its arguments in another thread."""

    name: str
    database: Database
    vault: Vault
    settings: Settings
    spec: OperationSpec
    settle: Callable[[int, AttemptResult], None]
    is_canceled: Callable[[int], bool]
    stop: threading.Event
    endings: ThreadPoolExecutor
    begin: Callable[..., None]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def wait(self, ready: list[Ready], join: Callable[[list[Ready]], int] = len, patience_s: float = PATIENCE_S) -> int:
        """Wait until there are forks for a group, and take them; `join` may add to the group until then.

        If it is canceled before, it is settled, and 0 is given.
        """
        slots = slots_of(self.settings.forks)
        forks = slots.take(lambda: join(ready), lambda: self._is_over(ready), patience_s=patience_s)
        if not forks:
            for item, _ in ready:
                self.settle(item.attempt.id or 0, AttemptResult(Outcome.CANCELED, message="canceled before it began"))
        return forks

    def start(self, ready: list[Ready], forks: int) -> None:
        """Carry a group to its end in a process with the forks that `wait` took; each attempt is settled in any case.

        Raises:
            RuntimeError: there are no more threads.
        """
        if not forks:
            return
        held = Held(slots_of(self.settings.forks), forks, len(ready))
        try:
            self.begin(self._play, f"{self.name}-{next(self._numbers)}", ready, held)
        except RuntimeError:
            held.close()
            raise

    def _start_again(self, ready: list[Ready]) -> None:
        self.start(ready, self.wait(ready, patience_s=0.0))

    def _play(self, name: str, ready: Sequence[Ready], held: Held) -> None:
        try:
            self._run(name, {item.attempt.id or 0: (item, target) for item, target in ready}, held)
        finally:
            held.close()

    def _is_over(self, ready: Sequence[Ready]) -> bool:
        return self.stop.is_set() or all(self.is_canceled(item.attempt.id or 0) for item, _ in ready)

    def _run(self, name: str, unsettled: dict[int, Ready], held: Held) -> None:
        def on_result(attempt_id: int, result: AttemptResult) -> None:
            item, target = unsettled.pop(attempt_id)
            held.settled()
            if result.code == HostKeyMismatchError.code:
                self._look_at_host_key(item.operation.site_id)
            self.settle(attempt_id, result)
            if result.outcome in _CUT_SHORT and self.spec.changes_site and not self.stop.is_set():
                self.endings.submit(self._end_there, target, attempt_id)

        def take(runs: tuple[SiteRun, ...]) -> None:
            held.settled(len(runs))
            logger.info("batch %s: %d sites wait for slow ones; another process takes them", name, len(runs))
            self.begin(self._start_again, [unsettled.pop(run.attempt_id) for run in runs])

        def refuse(result: AttemptResult) -> None:
            for attempt_id in list(unsettled):
                on_result(attempt_id, result)

        try:
            runs = tuple(SiteRun(each, target, self._variables(item)) for each, (item, target) in unsettled.items())
            run_batch(
                Batch(name=name, kind=self.spec.kind.value, runs=runs, timeout_s=self.spec.timeout_s),
                self.settings,
                on_result=on_result,
                is_canceled=self.is_canceled,
                hand_over=HandOver(slots_of(self.settings.forks).has_room, take),
                forks=held.forks,
            )
        except EdgemgrError as exc:
            refuse(result_of(exc))
        except Exception:
            logger.exception("batch %s failed in an unforeseen way", name)
        refuse(internal_fault("the batch ended without a word on this site"))

    def _variables(self, item: Claimed) -> dict[str, object]:
        with self.database.read() as session:
            site = session.get_one(Site, item.operation.site_id)
            params = self.spec.params.model_validate(item.operation.params)
            return {
                "edge_site": site.name,
                "edge_attempt": item.attempt.id,
                "edge_first_attempt": _first_attempt(session, item),
                "edge_operation": f"{item.operation.request}-{item.operation.id}",
                "edge_arch": site.arch or "",
                **self.spec.variables(session, params, site, self.settings),
            }

    def _look_at_host_key(self, site_id: int) -> None:
        """Ansible only says that the key was wrong: find out which one answers, and stop the site for everybody."""
        try:
            scan_site(self.database, self.vault, self.settings, site_id, actor="queue")
        except EdgemgrError as exc:
            logger.warning("site %d: %s", site_id, exc.message)

    def _end_there(self, target: Target, attempt_id: int) -> None:
        try:
            ended = end_attempt(target, attempt_id, timeout_s=self.settings.connect_timeout_s)
        except EdgemgrError as exc:
            logger.warning("%s", exc.message, extra={"action": "ending_failed"})
        except Exception:
            logger.exception("%s: what attempt %d left there was not ended", target.name, attempt_id)
        else:
            logger.info("%s: %d processes of attempt %d ended", target.name, ended, attempt_id)


def _first_attempt(session: Session, item: Claimed) -> int:
    """By this number the node knows what an earlier attempt of the same operation has begun there."""
    return attempts.first_of(session, item.operation.id or 0) if item.attempt.number > 1 else item.attempt.id or 0
