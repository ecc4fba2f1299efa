"""The queue as a machine with many levers: whatever is pulled, in whatever order, its promises hold.

Two workers on the real store, with crashes, a machine that is cut off, clocks that are set, and a disk that fills.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete
from sqlmodel import col, select
from tests_support.hand_clock import Hands
from tests_support.machine import FillableDatabase, Machine

from edgemgr.errors import Retry, StoreError
from edgemgr.model.attempt import Attempt, AttemptResult, Outcome
from edgemgr.model.event import Event
from edgemgr.model.limit import QueueLimit
from edgemgr.model.operation import ENDED_STATES, OPEN_STATES, Operation, OperationKind, Priority
from edgemgr.model.site import Site
from edgemgr.model.worker import Worker
from edgemgr.queue import reaper
from edgemgr.queue.clock import CALM_S
from edgemgr.queue.identity import boot_id
from edgemgr.queue.lease import Lease
from edgemgr.settings import Settings
from edgemgr.store import operations, pauses, workers
from edgemgr.store.database import Database
from edgemgr.store.operations import NewOperation

RUNS = 200
SITES = 3
LEASE_S = 6.0
KINDS = [OperationKind.VERIFY, OperationKind.PROBE]
ENDED = {state.value for state in ENDED_STATES}
OPEN = {state.value for state in OPEN_STATES}
SITE = st.integers(0, SITES - 1)
SOME_SITES = st.sets(SITE, min_size=1)
WHICH = st.integers(0, 1)
SETTINGS = hypothesis_settings(
    max_examples=RUNS,
    stateful_step_count=10,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
RESULTS = st.builds(
    AttemptResult,
    outcome=st.sampled_from(Outcome),
    retry=st.sampled_from([Retry.BUDGETED, Retry.BUDGETED, Retry.NEVER, Retry.FREE]),
)


class Levers(RuleBasedStateMachine):
    """What operators, workers, links, clocks, disks and power can do to the queue."""

    def __init__(self, database: FillableDatabase, options: Settings) -> None:
        super().__init__()
        self.database = database
        self.database.is_full = False
        self.options = options
        self.server = Hands()
        self.hands = [Hands(), Hands()]
        with self.database.write() as session:
            for table in (Attempt, Operation, QueueLimit, Worker, Event, Site):
                session.execute(delete(table))
            sites = [Site(name=f"site-{number}", address="192.0.2.1") for number in range(SITES)]
            session.add_all(sites)
            session.flush()
            self.sites = [site.id or 0 for site in sites]
        self.machines = [self._machine(0), self._machine(1)]
        self.calm_s = [0.0, 0.0]  #: since somebody set the time of day that the queue goes by
        self.given: dict[int, Outcome] = {}  #: attempt → what its own worker found out, if the lease was sure then
        self.settled: dict[int, str] = {}
        self.ended: dict[int, str] = {}
        self.ghosts: list[tuple[Machine, Lease, int]] = []  #: what crashed or cut off workers still believe to hold
        self.submitted = 0

    def _machine(self, which: int) -> Machine:
        machine = Machine(self.database, self.options, self.hands[which])
        if which == 1:  # only its silence can tell
            machine.go_elsewhere(boot_id=boot_id(), pid_namespace="pid:[1]")
        return machine

    @initialize(kinds=st.sets(st.sampled_from(KINDS), min_size=1))
    def begin_with_work(self, kinds: set[OperationKind]) -> None:
        for kind in sorted(kinds):
            self._submit(range(SITES), kind, Priority.BACKGROUND, days=1)

    # ---- operators

    @precondition(lambda self: not self.database.is_full)
    @rule(sites=SOME_SITES, kind=st.sampled_from(KINDS), urgent=st.booleans(), days=st.sampled_from([0.01, 7]))
    def submit(self, sites: set[int], kind: OperationKind, urgent: bool, days: float) -> None:
        self._submit(sites, kind, Priority.INTERACTIVE if urgent else Priority.BACKGROUND, days=days)

    def _submit(self, sites: Iterable[int], kind: OperationKind, priority: int, *, days: float) -> None:
        now = self.server.wall
        wanted = [
            NewOperation(self.sites[n], f"site-{n}", kind, {}, kind.value, priority, max_attempts=3) for n in sites
        ]
        with self.database.write() as session:
            operations.submit(
                session, wanted, request="r", actor="test", deadline_at=now + timedelta(days=days), now=now
            )
        self.submitted += len(wanted)

    @precondition(lambda self: not self.database.is_full)
    @rule(which=st.integers(0, 5), sites=SOME_SITES, what=st.sampled_from(["cancel", "pause", "resume", 1, 2, None]))
    def steer(self, which: int, sites: set[int], what: str | int | None) -> None:
        ids = [self.sites[number] for number in sites]
        numbers = [operation.id or 0 for operation in self._operations() if operation.state in OPEN]
        with self.database.write() as session:
            if what == "cancel" and numbers:
                operations.cancel(session, [numbers[which % len(numbers)]], actor="test", now=self.server.wall)
            elif what == "pause":
                pauses.pause(session, ids, reason="", actor="test", now=self.server.wall)
            elif what == "resume":
                pauses.resume(session, ids, actor="test", now=self.server.wall)
            else:
                session.execute(delete(QueueLimit))
                if isinstance(what, int):
                    session.add(QueueLimit(scope="all", most=what))

    # ---- workers and sites

    @rule(
        which=WHICH,
        results=st.lists(RESULTS, min_size=1, max_size=3),
        limit=st.integers(2, 3),
        wakes=st.booleans(),
        learns_it=st.sampled_from([True, True, True, False]),
    )
    def work(self, which: int, results: list[AttemptResult], limit: int, *, wakes: bool, learns_it: bool) -> None:
        """A few seconds of a worker's life: it claims, and some of its sites come to an end.

        Sometimes the server stores the claim, and its answer is lost on the way: the worker does not learn of it.
        """
        self._beat(which)
        if wakes and not self.database.is_full:
            with self.database.write() as session:
                operations.wake(session, self.sites, now=self.server.wall)
        self._claim(which, limit, learns_it=learns_it)
        self._finish(which, results)
        self._pass(1)

    @rule(which=WHICH, results=st.lists(RESULTS, min_size=1, max_size=3))
    def finish(self, which: int, results: list[AttemptResult]) -> None:
        self._finish(which, results)

    def _claim(self, which: int, limit: int, *, learns_it: bool = True) -> None:
        machine = self.machines[which]
        if self.database.is_full or not machine.heart.lease.is_sure():
            return
        claimed = machine.take(limit, learns_it=learns_it)
        if not claimed:
            return
        with self.database.read() as session:
            running = session.exec(select(Operation).where(Operation.state == "running")).all()
            (most,) = session.exec(select(QueueLimit.most)).all() or (1000,)
            paused = set(session.exec(select(Site.id).where(col(Site.paused_at).is_not(None))).all())
        assert len(running) <= most
        assert not paused & {item.operation.site_id for item in claimed}

    def _finish(self, which: int, results: Sequence[AttemptResult]) -> None:
        machine = self.machines[which]
        lease = machine.heart.lease
        for number, result in zip(sorted(lease.held.keys() - self.given.keys()), results, strict=False):
            if result.outcome is Outcome.CANCELED and not lease.held[number]:
                continue  # nobody asked for that
            self.given[number] = result.outcome
            machine.results.store(lease, number, result)

    def _beat(self, which: int, *, rounds: bool = True) -> None:
        machine = self.machines[which]
        lease = machine.heart.lease
        try:
            machine.heart.beat()
            machine.results.turn()
            if rounds:
                reaper.clip_pauses(self.database, machine.clock)
                expired = reaper.expire(self.database, machine.clock)
                assert not expired or self.calm_s[which] >= CALM_S, "a clock that was set just now ends nothing"
        except StoreError:
            assert self.database.is_full
        if machine.heart.lease is not lease:
            if which == 1:
                machine.go_elsewhere(boot_id=boot_id(), pid_namespace="pid:[1]")
            self.ghosts += [(machine, lease, number) for number in lease.held]

    def _pass(self, seconds: float) -> None:
        for hands in (*self.hands, self.server):
            hands.run(seconds)
        self.calm_s = [calm + seconds for calm in self.calm_s]

    # ---- the world

    @precondition(lambda self: not self.database.is_full)
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """Power loss or kill -9; it is started again at once."""
        machine = self.machines[which]
        self.ghosts += [(machine, machine.heart.lease, number) for number in machine.heart.lease.held]
        if which == 0:
            machine.lose_process()
        self.machines[which] = self._machine(which)

    @rule(which=WHICH, seconds=st.sampled_from([2, int(LEASE_S) + 2]), is_late=st.booleans())
    def cut_off(self, which: int, seconds: int, *, is_late: bool) -> None:
        """One worker is stopped with all it holds, or its link is away; the other goes on. Then it has late results."""
        self._beat(which, rounds=False)
        self._claim(which, SITES)
        for _ in range(seconds):
            self._pass(1)
            self._beat(1 - which, rounds=False)
        lease = self.machines[which].heart.lease
        for number in sorted(lease.held.keys() - self.given.keys()) if is_late else ():
            self._write_late(self.machines[which], lease, number)

    @precondition(lambda self: self.ghosts and not self.database.is_full)
    @rule(which=st.integers(0, 20))
    def a_ghost_writes(self, which: int) -> None:
        """A worker that crashed or was given up comes back with a result."""
        self._write_late(*self.ghosts.pop(which % len(self.ghosts)))

    def _write_late(self, machine: Machine, lease: Lease, number: int) -> None:
        """It is refused, or, if nobody has settled the attempt yet, still true."""
        with self.database.read() as session:
            before = session.get_one(Attempt, number).outcome
        if before is None:
            self.given[number] = Outcome.SUCCEEDED
        machine.results.store(lease, number, AttemptResult(Outcome.SUCCEEDED))
        with self.database.read() as session:
            assert session.get_one(Attempt, number).outcome == (before or "succeeded")

    @rule(seconds=st.sampled_from([60, 700]))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(which=WHICH, hours=st.sampled_from([-9000, -30, 0, 30, 9000]))
    def somebody_sets_the_clock(self, which: int, hours: int) -> None:
        moment = self.server.wall + timedelta(hours=hours)
        if moment != self.hands[which].wall and self.database.dialect == "sqlite":
            self.calm_s[which] = 0.0
        self.hands[which].wall = moment

    @rule(which=WHICH, results=st.lists(RESULTS, min_size=1, max_size=2))
    def the_disk_is_full_for_a_while(self, which: int, results: list[AttemptResult]) -> None:
        self.database.is_full = True
        with pytest.raises(StoreError, match="no room"):
            self._submit([0], KINDS[0], Priority.INTERACTIVE, days=1)
        self._finish(which, results)
        self._beat(which)
        self.promises()
        self.database.is_full = False
        if self.machines[which].heart.lease.is_sure():
            self.machines[which].results.turn()
            assert len(self.machines[which].results) == 0

    # ---- promises

    def _operations(self) -> list[Operation]:
        with self.database.read() as session:
            return list(session.exec(select(Operation).order_by(col(Operation.id))).all())

    @invariant()
    def promises(self) -> None:
        with self.database.read() as session:
            found = session.exec(
                select(Operation.id, Operation.site_id, Operation.state, Operation.is_head, Operation.finished_at)
            ).all()
            attempts = session.exec(select(Attempt.id, Attempt.operation_id, Attempt.outcome)).all()
        assert len(found) == self.submitted, "nothing is lost"
        running = [(number, site) for number, site, state, _, _ in found if state == "running"]
        assert len({site for _, site in running}) == len(running), "one running operation a site"
        heads = [site for _, site, _, is_head, _ in found if is_head]
        assert sorted(heads) == sorted({site for _, site, state, _, _ in found if state in OPEN}), "one head a site"
        unsettled = [operation_id for _, operation_id, outcome in attempts if outcome is None]
        assert sorted(unsettled) == sorted(number or 0 for number, _ in running), "who runs has one attempt under way"
        for number, _, state, _, finished_at in found:
            if state in ENDED:
                assert finished_at is not None
                assert self.ended.setdefault(number or 0, state) == state, "an end is an end"
        for number, _, outcome in attempts:
            if outcome is not None:
                assert self.settled.setdefault(number or 0, outcome) == outcome, "settled once"
                assert outcome in (self.given.get(number or 0), "lost"), "by its own worker's evidence, or as lost"

    def teardown(self) -> None:
        """When all is well again, everything ends, and nothing is expired before its time."""
        with self.database.write() as session:
            session.execute(delete(QueueLimit))
            pauses.resume(session, self.sites, actor="test", now=self.server.wall)
        for which in (0, 1):
            self.somebody_sets_the_clock(which, 0)
        for _ in range(40):
            for which in (0, 1):
                self._beat(which)
                self._claim(which, SITES)
                self._finish(which, [AttemptResult(Outcome.SUCCEEDED)] * SITES)
            open_ones = [operation for operation in self._operations() if operation.state in OPEN]
            if not open_ones:
                break
            # A backoff ends by itself, contact by the watch or, if need be, within a day.
            waits = {operation.waiting_for for operation in open_ones if operation.is_head}
            self._pass(1 if "turn" in waits or "" in waits else 1000 if "backoff" in waits else 86400)
        assert not open_ones
        self.promises()


def test_the_queue_keeps_its_promises_whatever_happens(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = settings.model_copy(update={"lease_s": LEASE_S})
    for directory in (options.state_dir, options.runtime_dir):
        directory.mkdir()
    world: list[Levers] = []
    if database.dialect == "postgresql":  # the server has a clock of its own, which the test holds
        monkeypatch.setattr(workers, "server_time", lambda _session: world[-1].server.wall)

    fillable = FillableDatabase(database.url.render_as_string(hide_password=False))

    def begin() -> Levers:
        world.append(Levers(fillable, options))
        return world[-1]

    try:
        run_state_machine_as_test(begin, settings=SETTINGS)
    finally:
        fillable.close()
