"""The worker: claims what is ready and carries it in threads, as long as it may believe in its lease.

Transfers, which last for hours or days, have a lane of their own: each is carried by itself, and as soon as one ends
the next begins. They take nothing from what else there is to do.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgemgr.errors import StoreError
from edgemgr.model.attempt import AttemptResult
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.duties import Duties, Every
from edgemgr.queue.fault import internal_fault
from edgemgr.queue.heart import Heart
from edgemgr.queue.lease import Lease
from edgemgr.queue.results import Results
from edgemgr.queue.room import no_room
from edgemgr.queue.slots import slots_of
from edgemgr.queue.traffic import traffic_of
from edgemgr.queue.work import Carrier
from edgemgr.runner import workspace
from edgemgr.settings import Settings
from edgemgr.store import workers
from edgemgr.store.claim import Claimed, anything_ready, claim
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

logger = logging.getLogger(__name__)

#: How often a worker looks for work, seconds, if nothing calls it earlier. A look is one indexed read.
POLL_S = 0.5
#: How long it waits after a claim that found nothing it may begin: limits and zones hold back what is ready.
HELD_BACK_S = 2.0
#: Batches that one worker carries at the same time, and those among them that have more than a few sites left: what
#: lingers must not stop the next. A further one is begun when they have fewer sites left than a full one: it takes ten
#: seconds from a claim to the first result, and those that wait for the end of both leave the forks idle for so long.
MAX_BATCHES = 8
MAX_BUSY = 2
#: With so few open sites a batch only lingers.
LINGERING = 5
#: While that many are busy, requests of which nothing runs yet are still served, by so many sites at once: who asks for
#: one site need not wait until four hundred others are done. So many batches are kept for them.
NEWCOMERS = 10
NEWCOMERS_BATCHES = 2
#: While processes have most of the forks, sites that come back gather for so long, seconds, before they are claimed:
#: claimed one by one each would have a process of its own, which costs as much as three sites.
GATHER_S = 4.0
#: How often the same trouble is logged, seconds.
COMPLAIN_S = 30.0


def hands_are_full(open_sites: Sequence[int], batch_size: int) -> bool:
    """Whether a worker whose batches have so many sites left begins no other for requests that it serves already."""
    busy = [left for left in open_sites if left > LINGERING]
    return len(open_sites) >= MAX_BATCHES or (len(busy) >= MAX_BUSY and sum(busy) >= batch_size)


@dataclass
class QueueWorker:
    """One worker of this process. `run` blocks until `stop` is set and everything under way has ended."""

    database: Database
    vault: Vault
    settings: Settings
    stop: threading.Event
    clock: QueueClock = field(default_factory=QueueClock)
    _batches: dict[threading.Thread, Carrier] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _woke: threading.Event = field(default_factory=threading.Event)  #: the watch has found a site
    _heart: Heart = field(init=False)
    _results: Results = field(init=False)
    _held_back_until: float = 0.0
    _gathers_until: float = 0.0
    _transfers: dict[threading.Thread, Carrier] = field(default_factory=dict)
    _transfers_held_back_until: float = 0.0
    _complaints: dict[str, Every] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._results = Results(self.database, self.settings, self.clock)
        self._heart = Heart(self.database, self.settings, self.clock, self._results.store)

    def run(self) -> None:
        """Work until told to stop.

        Raises:
            StoreError: the database could not be used at the start. Later failures are waited out.
        """
        workspace.sweep(self.settings)
        self._heart.register()
        duties = Duties(self.database, self.settings, self.clock, self._heart, self._woke)
        threads = [
            threading.Thread(target=self._beat, name="heart", daemon=True),
            threading.Thread(target=duties.run, args=(self._ended,), name="duties", daemon=True),
        ]
        for thread in threads:
            thread.start()
        while not self.stop.is_set() or self._batches or self._transfers:
            self._patiently(self._turn)
            self._woke.wait(POLL_S)
            self._woke.clear()
        self._store_the_rest()
        self._ended.set()
        for thread in threads:  # before we sign off: a late beat would have us registered anew
            thread.join(timeout=10)
        self._patiently(self._sign_off)
        logger.info("worker %s stopped", self._heart.lease.worker_id, extra={"action": "worker_stopped"})

    def _turn(self) -> None:
        self._results.turn()
        self._batches = {thread: carrier for thread, carrier in self._batches.items() if thread.is_alive()}
        self._transfers = {thread: carrier for thread, carrier in self._transfers.items() if thread.is_alive()}
        if self._transfers:
            traffic_of(self.database).refresh()  # what is changed holds for those that run as well
        if not self.stop.is_set():
            self._claim()
            self._claim_transfers()

    def _beat(self) -> None:
        while True:
            self._patiently(self._heart.beat)
            if self._ended.wait(self._heart.pause_s):
                return

    def _store_the_rest(self) -> None:
        """Try for as long as a lease lasts; what is not stored then is repeated by another worker."""
        until = self.clock.steady() + self.settings.lease_s
        while self._results and self.clock.steady() < until:
            self._results.turn()
            time.sleep(POLL_S)

    def _sign_off(self) -> None:
        with self.database.write() as session:
            workers.stop(session, self._heart.lease.worker_id, now=self.clock.now())

    def _patiently(self, turn: Callable[[], None]) -> None:
        """A full disk, or a database that restarts, is waited out."""
        try:
            turn()
        except StoreError as exc:
            if self._complaints.setdefault(exc.code, Every(COMPLAIN_S)).is_due():
                logger.error("%s (%s) %s", exc.message, exc.code, exc.hint)  # noqa: TRY400 - its cause is in the message
        except Exception:
            logger.exception("worker %s: an unforeseen fault", self._heart.lease.worker_id)

    def _claim(self) -> None:
        while len(self._batches) < MAX_BATCHES + NEWCOMERS_BATCHES and self.clock.steady() >= self._held_back_until:
            open_sites = [carrier.open_sites for carrier in self._batches.values()]
            is_full = hands_are_full(open_sites, self.settings.batch_size) or self._gathers()
            name = f"b{secrets.token_hex(4)}"
            limit = min(NEWCOMERS, self.settings.batch_size) if is_full else self.settings.batch_size
            lease = self._heart.lease
            claimed = self._take(lease, name, limit, newcomers_only=is_full)
            if claimed is None:
                return
            if not claimed:
                self._held_back_until = self.clock.steady() + HELD_BACK_S
                return
            self._begin(self._batches, lease, name, claimed)
            if not is_full:
                self._gathers_until = self.clock.steady() + GATHER_S

    def _gathers(self) -> bool:
        return self.clock.steady() < self._gathers_until and not slots_of(self.settings.forks).is_idle()

    def _claim_transfers(self) -> None:
        free = self.settings.transfers - len(self._transfers)
        if free <= 0 or self.clock.steady() < self._transfers_held_back_until:
            return
        name = f"t{secrets.token_hex(4)}"
        lease = self._heart.lease
        claimed = self._take(lease, name, free, transfers=True)
        if not claimed:  # what takes hours need not begin within half a second
            self._transfers_held_back_until = self.clock.steady() + HELD_BACK_S
        for number, item in enumerate(claimed or []):
            self._begin(self._transfers, lease, f"{name}-{number}", [item])

    def _take(
        self, lease: Lease, name: str, limit: int, *, newcomers_only: bool = False, transfers: bool = False
    ) -> Sequence[Claimed] | None:
        """Claim for one lane; None when nothing is ready in it, or when this worker may not claim now."""
        if not lease.is_sure():
            return None
        with self.database.read() as session:
            if not anything_ready(session, self.clock.now(), transfers=transfers):
                return None
        if fault := no_room(self.settings):
            raise fault
        traffic = traffic_of(self.database) if transfers else None
        if traffic is not None:
            traffic.refresh()
        with self.database.write() as session:
            if not workers.may_claim(session, lease.worker_id):
                return None
            if traffic is not None and traffic.windows:
                traffic.hold_back(session, self.clock.now())
            return claim(
                session,
                worker_id=lease.worker_id,
                zones=self.settings.zones,
                batch=name,
                limit=limit,
                max_running=self.settings.max_running,
                newcomers_only=newcomers_only,
                transfers=transfers,
                now=self.clock.now(),
            )

    def _begin(
        self, lane: dict[threading.Thread, Carrier], lease: Lease, name: str, claimed: Sequence[Claimed]
    ) -> None:
        unsettled = {item.attempt.id or 0 for item in claimed}
        lease.held.update(dict.fromkeys(unsettled, False))

        def settle(attempt_id: int, result: AttemptResult) -> None:
            unsettled.discard(attempt_id)
            self._results.store(lease, attempt_id, result)

        carrier = Carrier(
            self.database,
            self.vault,
            self.settings,
            claimed,
            settle=settle,
            is_canceled=lambda attempt_id: self.stop.is_set() or lease.must_stop(attempt_id),
            stop=self.stop,
            gives_way=lambda attempt_id: attempt_id in lease.giving_way,
        )

        def carry() -> None:
            try:
                carrier.carry(name)
            except Exception:
                logger.exception("batch %s failed in an unforeseen way", name)
            for attempt_id in list(unsettled):
                settle(attempt_id, internal_fault("the batch ended without a result for this site"))

        thread = threading.Thread(target=carry, name=name)
        try:
            thread.start()
        except RuntimeError:  # no more threads: held by nobody, so that the heart lets go of them
            for attempt_id in unsettled:
                lease.held.pop(attempt_id, None)
            raise
        lane[thread] = carrier
