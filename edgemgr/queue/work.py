"""Carrying a claim: contact and access to each site, then its playbook or its errand, each settled by itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from edgemgr.errors import EdgemgrError
from edgemgr.inventory.access import note_mismatch, open_target
from edgemgr.links.sign_of_life import require_life
from edgemgr.links.ssh import HostKeyMismatchError
from edgemgr.model.attempt import AttemptResult
from edgemgr.model.operation import OperationKind
from edgemgr.model.target import Target
from edgemgr.operations.registry import spec_of
from edgemgr.queue.ahead import Ahead, group_sites
from edgemgr.queue.arrivals import Arrivals
from edgemgr.queue.direct import carry_out
from edgemgr.queue.errand import Errand
from edgemgr.queue.fault import internal_fault, result_of
from edgemgr.queue.lives import lives
from edgemgr.queue.play import Player
from edgemgr.queue.restoring import bring_backup
from edgemgr.queue.slots import slots_of
from edgemgr.queue.staging_ahead import begun, bring_rest
from edgemgr.queue.turns import turn
from edgemgr.settings import Settings
from edgemgr.store.addresses import addresses
from edgemgr.store.claim import Claimed
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

__all__ = ["Carrier", "internal_fault"]
logger = logging.getLogger(__name__)

#: Sites whose access is being prepared, or that are being probed, at the same time. Most of that time is waiting: for
#: answers over long links, or for one whose link has just gone down.
ACCESS_THREADS = 32
#: Nodes on which what a canceled attempt left behind is being ended at the same time.
ENDING_THREADS = 8

Settle = Callable[[int, AttemptResult], None]


@dataclass
class Carrier:
    """What it takes to carry one claim. Set `stop` when the worker is to end: then nothing is ended on the nodes."""

    database: Database
    vault: Vault
    settings: Settings
    claimed: Sequence[Claimed]  #: operations of one kind with the same parameters
    settle: Settle
    is_canceled: Callable[[int], bool]
    stop: threading.Event = field(default_factory=threading.Event)
    gives_way: Callable[[int], bool] = lambda _attempt_id: False
    _open: set[int] = field(init=False)  #: attempts that are not settled
    _processes: list[Future[None]] = field(default_factory=list)
    _ahead: Ahead = field(init=False)

    def __post_init__(self) -> None:
        self._ahead = Ahead(self.settings.forks)
        self._open = {item.attempt.id or 0 for item in self.claimed}

    @property
    def open_sites(self) -> int:
        """How many of its sites are not settled."""
        return len(self._open)

    def carry(self, name: str) -> None:
        """Run the attempts to their ends; each is settled exactly once, whatever happens. To be called once."""
        claimed = self.claimed
        spec = spec_of(claimed[0].operation.kind)
        with self.database.read() as session:
            site_ids = [item.operation.site_id for item in claimed]
            doors = addresses(session, site_ids, now=claimed[0].attempt.started_at)
        with (
            ThreadPoolExecutor(ENDING_THREADS, thread_name_prefix="ending") as endings,
            ThreadPoolExecutor(ACCESS_THREADS, thread_name_prefix="access") as pool,
            ThreadPoolExecutor(len(claimed), thread_name_prefix="batch") as processes,
            self._ahead as ahead,
        ):

            def begin(action: Callable[..., None], *args: object) -> None:
                self._processes.append(processes.submit(action, *args))

            player = Player(
                name,
                self.database,
                self.vault,
                self.settings,
                spec,
                settle=self._settle,
                is_canceled=self.is_canceled,
                stop=self.stop,
                endings=endings,
                begin=begin,
            )
            arrivals = Arrivals(
                pool,
                self._enter,
                self._settle,
                self.settings.connect_timeout_s,
                ahead,
                enough=slots_of(self.settings.forks).enough,
            )
            for ready in arrivals.groups(claimed, doors):
                if spec.has_playbook:
                    forks = player.wait(ready, arrivals.join)
                    if forks:  # with few of them the last sites would wait for long
                        arrivals.shorten(ready, group_sites(forks))
                    ahead.give_back(len(ready))
                    player.start(ready, forks)
                else:
                    ahead.give_back(len(ready))
                    self._processes += [pool.submit(self._carry_out, item, target) for item, target in ready]
            while unfinished := [process for process in self._processes if not process.done()]:
                wait(unfinished)  # one of them may have started another
        for process in self._processes:
            process.result()

    def _settle(self, attempt_id: int, result: AttemptResult) -> None:
        self._open.discard(attempt_id)
        self.settle(attempt_id, result)

    def _enter(self, item: Claimed) -> Target | None:
        """The way to a site; a site that cannot be entered, or then does nothing, is settled here."""
        attempt_id = item.attempt.id or 0
        try:
            with turn():
                target = open_target(self.database, self.vault, self.settings, item.operation.site_id)
                if spec_of(item.operation.kind).has_playbook:
                    target = self._alive(target)
            over = self._bring_ahead(self._errand(item, target))
            if over is not None:
                self._settle(attempt_id, over)
                return None
        except HostKeyMismatchError as exc:
            note_mismatch(self.database, item.operation.site_id, exc, actor="queue")
            self._settle(attempt_id, result_of(exc))
        except EdgemgrError as exc:
            self._settle(attempt_id, result_of(exc))
        except Exception:
            logger.exception("%s: access failed in an unforeseen way", item.site_name)
            self._settle(attempt_id, internal_fault("access to the site failed in an unforeseen way"))
        else:
            return target
        return None

    def _alive(self, target: Target) -> Target:
        """The target with the time that a word over a connection takes; asked for one unless it gave one lately."""
        heard = lives()
        if target.answers_in_s is None:
            if (known := heard.recall(target)) is not None:
                return known
            target = require_life(target, timeout_s=self.settings.connect_timeout_s)
        heard.note(target)
        return target

    def _bring_ahead(self, errand: Errand) -> AttemptResult | None:
        """Bring what the playbook needs there by a road of its own; None: the playbook may begin."""
        kind = errand.claimed.operation.kind
        rest = begun(errand) if kind == OperationKind.BOOTSTRAP else None
        if rest is None and kind != OperationKind.RESTORE:
            return None
        within_s = spec_of(kind).timeout_s
        with self._ahead.left():  # over a slow link it takes hours
            return (
                bring_backup(errand, within_s=within_s) if rest is None else bring_rest(errand, rest, within_s=within_s)
            )

    def _carry_out(self, item: Claimed, target: Target) -> None:
        self._settle(item.attempt.id or 0, carry_out(self._errand(item, target)))

    def _errand(self, item: Claimed, target: Target) -> Errand:
        attempt_id = item.attempt.id or 0
        return Errand(
            self.database,
            self.settings,
            item,
            target,
            self.vault,
            is_canceled=lambda: self.is_canceled(attempt_id),
            gives_way=lambda: self.gives_way(attempt_id),
        )
