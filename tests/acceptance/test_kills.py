"""Kills, stops, wrong clocks and a full disk: nothing is lost, nothing is done twice, nothing is stuck.

Real processes on a real lab: `edgemgr serve` and `edgemgr worker` share one database; the sites themselves write down
who was there.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from acceptance_stories import import_sites
from sqlmodel import col, select
from tests_support.appliance import Appliance, until
from tests_support.own_lab import own_lab
from tests_support.witness import CLOCK, OPEN, ask_for_free_sites, let_sites_bear_witness, witness_content

from edgemgr.lab.lab import Lab
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.store.database import Database

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SITES = 6
LEASE_S = 3.0
STATE_MIB = 96
#: After the last kill everything has ended within this time: a site whose attempts were killed so often that it counts
#: as one that greets and fails is left alone for up to 300 s (queue/pace.py); then there are backoffs and the fence.
ENDS_WITHIN_S = 420.0


class Yard:
    """An appliance of two processes on one database, six sites, and what may happen to them."""

    def __init__(self, appliance: Appliance, lab: Lab, chance: random.Random) -> None:
        self.appliance = appliance
        self.lab = lab
        self.chance = chance
        self.database = Database(f"sqlite:///{appliance.directory / 'state' / 'edgemgr.db'}")
        self.clock = appliance.directory / "content" / CLOCK
        with self.database.read() as session:
            self.site_ids = [number for number in session.exec(select(Site.id)).all() if number is not None]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self) -> None:
        """Start what does not run."""
        commands = {
            "serve": ["serve", "--listen", f"127.0.0.1:{self.appliance.port}"],
            "worker": ["worker"],
        }
        for name, command in commands.items():
            if name not in self.processes or self.processes[name].poll() is not None:
                self.processes[name] = self.appliance.start(*command)

    def ask(self) -> None:
        """Have something queued for every site that has nothing open."""
        ask_for_free_sites(self.database, self.site_ids)

    def open_operations(self) -> Sequence[Operation]:
        with self.database.read() as session:
            return session.exec(select(Operation).where(col(Operation.state).in_(OPEN))).all()

    def is_at_work(self) -> bool:
        return any(operation.state == "running" for operation in self.open_operations())

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        self.appliance.kill(process)

    def ansible(self) -> list[int]:
        """What works in our runtime directory, and nothing else."""
        marker = os.fsencode(f"{self.appliance.directory / 'run'}/")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if marker in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def kill_ansible(self, *, every: bool = False) -> None:
        found = self.ansible()
        for pid in found if every else found and [self.chance.choice(found)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def strike(self) -> None:
        """One kill -9, of something that is at work."""
        victim = self.chance.choice(["serve", "worker", "ansible", "ansible", "everything"])
        if victim == "ansible":
            self.kill_ansible()
        elif victim == "everything":  # as power loss, except for what the kernel had not written
            for name in list(self.processes):
                self.kill(name)
            self.kill_ansible(every=True)
        else:
            self.kill(victim)

    def stop(self) -> None:
        """One process sleeps for longer than a lease, with all that it holds."""
        process = self.processes[self.chance.choice(sorted(self.processes))]
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(LEASE_S + 2)
        finally:
            process.send_signal(signal.SIGCONT)

    def set_clock(self) -> None:
        """The clock of the appliance is set hours forward or back."""
        self.clock.write_text(str(3600 * self.chance.choice([-30, -2, 2, 30])))

    def set_clock_right(self) -> None:
        self.clock.write_text("0")

    def all_ended(self) -> bool:
        self.begin()
        return not self.open_operations()

    def wait_for_the_end(self) -> None:
        """Keep everything running until nothing is owed any more; what is still owed then is told."""
        try:
            until("everything has ended", self.all_ended, ENDS_WITHIN_S)
        except AssertionError as exc:
            owed = [each.model_dump(exclude={"params", "hint"}, mode="json") for each in self.open_operations()]
            raise AssertionError(f"{exc}; owed at {utc_now():%H:%M:%S}: {owed}") from None

    def check(self) -> int:
        """Let the sites bear witness; returns how many operations succeeded."""
        with self.database.read() as session:
            unsettled = session.exec(select(Attempt.id).where(col(Attempt.outcome).is_(None))).all()
            states = session.exec(select(Operation.state)).all()
        assert unsettled == []
        assert set(states) <= {"succeeded", "failed"}, "nobody canceled anything, and no clock ended it"
        return let_sites_bear_witness(self.database, self.lab)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("kills", "10.214.0.0/24", sites=SITES) as lab:
        yield lab


@pytest.fixture
def yard(lab: Lab, tmp_path: Path) -> Iterator[Yard]:
    """A new appliance for the same sites, its state on a small disk of its own."""
    appliance = Appliance(
        tmp_path,
        lab.directory,
        EDGEMGR_LEASE_S=str(LEASE_S),
        EDGEMGR_BATCH_SIZE="3",
        **witness_content(tmp_path / "content"),
    )
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STATE_MIB}m", "none", str(state)], check=True, timeout=30)
    try:
        import_sites(appliance, lab)
        yard = Yard(appliance, lab, random.Random(20261121))  # noqa: S311 - the same every time
        try:
            yield yard
        finally:
            yard.database.close()
            appliance.close()
            yard.kill_ansible(every=True)
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True, timeout=30)


def strike_again_and_again(yard: Yard, kills: int) -> None:
    yard.begin()
    blows: list[Callable[[], None]] = [yard.strike] * kills
    for place in range(kills // 10, kills, kills // 4):
        blows[place:place] = [yard.stop, yard.set_clock]
    for blow in blows:
        yard.begin()
        yard.ask()
        until("something is at work", yard.is_at_work, 60, pause_s=0.1)
        time.sleep(yard.chance.uniform(0.0, 2.0))
        blow()
    yard.set_clock_right()
    yard.wait_for_the_end()
    assert yard.check() >= SITES, "and the work got on"


def test_fifty_kills_lose_nothing_double_nothing_and_leave_nothing_stuck(yard: Yard) -> None:
    strike_again_and_again(yard, 50)


@pytest.mark.exhaustive
def test_a_thousand_kills_lose_nothing_double_nothing_and_leave_nothing_stuck(yard: Yard) -> None:
    strike_again_and_again(yard, 1000)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for _ in range(STATE_MIB << 8):
            try:
                file.write(bytes(4096))
            except OSError as exc:
                assert exc.errno == errno.ENOSPC  # noqa: PT017 - that it is full is what we want
                return


def test_a_full_disk_refuses_new_work_loses_nothing_and_goes_on_when_there_is_room(yard: Yard) -> None:
    yard.begin()
    yard.ask()
    until("something is at work", yard.is_at_work, 60, pause_s=0.1)
    filler = yard.appliance.directory / "state" / "filler"
    fill(filler)
    refused = yard.appliance.attempt("verify", "--all")
    assert (refused.returncode, "E-STORE-FULL" in refused.stderr) == (1, True), refused.stderr
    time.sleep(3 * LEASE_S)  # what ends now is kept, and nobody is given up for it
    filler.unlink()
    yard.wait_for_the_end()
    assert yard.check() == SITES
    with yard.database.read() as session:
        assert set(session.exec(select(Operation.lost)).all()) == {0}
        assert set(session.exec(select(Operation.spent)).all()) == {0}
