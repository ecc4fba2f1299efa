"""Carrying a claimed batch: access to each site, then the playbook or the probe, each site settled by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from edgemgr.errors import EdgemgrError, Retry, SiteError, SiteUnreachableError
from edgemgr.inventory.access import note_mismatch, open_target
from edgemgr.inventory.key_scan import scan_site
from edgemgr.links.kube import observe
from edgemgr.links.ssh import HostKeyMismatchError
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.target import Target
from edgemgr.operations.registry import spec_of
from edgemgr.runner.ansible import run_batch
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.settings import Settings
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

logger = logging.getLogger(__name__)

#: Sites whose access is being prepared at the same time.
ACCESS_THREADS = 16
#: As long as sites become ready at least this often, those that are ready wait for more, up to the second span: every
#: group is an ansible-runner of its own, which costs about a second of CPU and 100 MB before it does anything.
GATHER_S = 2.0
GATHER_MAX_S = 30.0

Settle = Callable[[int, AttemptResult], None]


@dataclass(frozen=True)
class Carrier:
    """What it takes to carry batches: made once by a worker."""

    database: Database
    vault: Vault
    settings: Settings
    settle: Settle
    is_canceled: Callable[[int], bool]

    def carry(self, name: str, claimed: Sequence[Claimed]) -> None:
        """Run the attempts of one claim to their ends; each is settled exactly once, whatever happens."""
        spec = spec_of(claimed[0].operation.kind)
        with ThreadPoolExecutor(ACCESS_THREADS, thread_name_prefix="access") as pool:
            opening = {pool.submit(self._open, item): item for item in claimed}
            carrying: list[Future[None]] = []
            with ThreadPoolExecutor(thread_name_prefix="batch") as groups:
                for number, ready in enumerate(_as_they_come(opening)):
                    if spec.has_playbook:
                        carrying.append(groups.submit(self._play, f"{name}-{number}", ready))
                    else:
                        carrying += [pool.submit(self._probe, item, target) for item, target in ready]
            for future in carrying:
                future.result()

    def _open(self, item: Claimed) -> Target | None:
        """The way to a site; a site that cannot be opened is settled here."""
        attempt_id = item.attempt.id or 0
        try:
            return open_target(self.database, self.vault, self.settings, item.operation.site_id)
        except EdgemgrError as exc:
            self.settle(attempt_id, _result_of(exc))
        except Exception:
            logger.exception("%s: access failed in an unforeseen way", item.site_name)
            self.settle(attempt_id, internal_fault("access to the site failed in an unforeseen way"))
        return None

    def _play(self, name: str, ready: Sequence[tuple[Claimed, Target]]) -> None:
        spec = spec_of(ready[0][0].operation.kind)
        unsettled = {item.attempt.id or 0 for item, _ in ready}

        sites = {item.attempt.id or 0: item.operation.site_id for item, _ in ready}

        def on_result(attempt_id: int, result: AttemptResult) -> None:
            unsettled.discard(attempt_id)
            if result.code == HostKeyMismatchError.code:
                self._look_at_host_key(sites[attempt_id])
            self.settle(attempt_id, result)

        try:
            runs = tuple(SiteRun(item.attempt.id or 0, target, self._variables(item, target)) for item, target in ready)
            batch = Batch(name=name, kind=spec.kind.value, runs=runs, timeout_s=spec.timeout_s)
            run_batch(batch, self.settings, on_result=on_result, is_canceled=self.is_canceled)
        except EdgemgrError as exc:
            for attempt_id in list(unsettled):
                on_result(attempt_id, _result_of(exc))
        except Exception:
            logger.exception("batch %s failed in an unforeseen way", name)
        for attempt_id in list(unsettled):
            on_result(attempt_id, internal_fault("the batch ended without a word on this site"))

    def _variables(self, item: Claimed, target: Target) -> dict[str, object]:
        spec = spec_of(item.operation.kind)
        from edgemgr.model.site import Site

        with self.database.read() as session:
            site = session.get_one(Site, item.operation.site_id)
            params = spec.params.model_validate(item.operation.params)
            return {
                "edge_site": target.name,
                "edge_attempt": item.attempt.id,
                "edge_arch": site.arch or "",
                **spec.variables(session, params, site, self.settings),
            }

    def _look_at_host_key(self, site_id: int) -> None:
        """Ansible only says that the key was wrong: find out which one answers, and stop the site for everybody."""
        try:
            scan_site(self.database, self.vault, self.settings, site_id, actor="queue")
        except EdgemgrError as exc:
            logger.warning("site %d: %s", site_id, exc.message)

    def _probe(self, item: Claimed, target: Target) -> None:
        try:
            observation = observe(target, timeout_s=self.settings.connect_timeout_s)
            result = AttemptResult(Outcome.SUCCEEDED, observation=observation)
        except HostKeyMismatchError as exc:
            note_mismatch(self.database, item.operation.site_id, exc, actor="queue")
            result = _result_of(exc)
        except EdgemgrError as exc:
            result = _result_of(exc)
        except Exception:
            logger.exception("%s: probe failed in an unforeseen way", item.site_name)
            result = internal_fault("the probe failed in an unforeseen way")
        self.settle(item.attempt.id or 0, result)


def _as_they_come(opening: dict[Future[Target | None], Claimed]) -> Iterator[list[tuple[Claimed, Target]]]:
    """Groups of sites whose access is ready: who comes in good time travels together, who is slow follows."""
    pending = set(opening)
    while pending:
        gathered, pending = wait(pending, return_when=FIRST_COMPLETED)
        deadline = time.monotonic() + GATHER_MAX_S
        while pending and (left := deadline - time.monotonic()) > 0:
            more, pending = wait(pending, timeout=min(GATHER_S, left), return_when=FIRST_COMPLETED)
            if not more:
                break
            gathered |= more
        group = [(opening[future], target) for future in gathered if (target := future.result()) is not None]
        if group:
            yield sorted(group, key=lambda pair: pair[0].attempt.id or 0)


def _result_of(exc: EdgemgrError) -> AttemptResult:
    """An error of the way to the site, as evidence."""
    if isinstance(exc, SiteUnreachableError):
        outcome = Outcome.UNREACHABLE
    elif isinstance(exc, SiteError) and exc.retry is Retry.NEVER:
        outcome = Outcome.REFUSED  # nothing was sent, nothing was changed
    else:
        outcome = Outcome.FAILED
    return AttemptResult(outcome, code=exc.code, message=exc.message, hint=exc.hint, retry=exc.retry)


def internal_fault(message: str) -> AttemptResult:
    """A fault of ours, as evidence."""
    return AttemptResult(
        Outcome.FAILED,
        code="E-INTERNAL",
        message=message,
        hint="This is a fault of edgemgr: the worker's log has the details.",
    )
