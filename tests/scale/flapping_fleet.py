"""A flapping fleet of light lab sites: the installed edgemgr bootstraps them all over links that come and go.

One appliance after the other, on sites that none has seen before: some sites over steady links, which gives the rate at
which this machine bootstraps when nothing flaps, the fleet, and as many over steady links again. All links are equally
long, lossy and slow in each.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bootstrap_meter import STEP_TIMEOUT_S
from consumption import Account, Peak
from faked_nodes import fake
from flapping_link import Flapping
from fleet_links import FleetLinks, LinkQuality, fleet_links, room_for_neighbours
from machine_speed import FaultCosts, Speedometer
from progress import say
from sqlmodel import col, select
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.offered_release import STANDIN_VERSION, offer_release
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.lab.sites_csv import sites_csv
from edgemgr.model.attempt import Attempt, Outcome
from edgemgr.model.operation import Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.settings import Settings, load_settings
from edgemgr.store.database import Database

LAB = Path("/var/lib/edgemgr-lab-flapping")
SUBNET = "10.231.0.0/16"
LEAD_S = 1.0  #: what the relay is told takes hold after so long


@dataclass(frozen=True)
class AttemptSpan:
    """One attempt, in seconds since the links began to flap."""

    site: int
    batch: str
    started_s: float
    finished_s: float
    outcome: str


@dataclass(frozen=True)
class Round:
    """What one appliance came to."""

    wall_s: float
    cpu_s: float
    memory_bytes: int
    costs: FaultCosts  #: in the seconds of the attempts
    asked_s: float  #: when the last site was asked for, in the seconds of the attempts: a command takes one to begin
    attempts: list[AttemptSpan]

    @property
    def done(self) -> dict[int, float]:
        """Site → when it was done."""
        return {each.site: each.finished_s for each in self.attempts if each.outcome == Outcome.SUCCEEDED.value}


class FlappingFleet:
    """Light sites behind one relay; made by `flapping_fleet`."""

    def __init__(self, lab: Lab, links: FleetLinks, sites: Sequence[SimulatedSite]) -> None:
        self._lab = lab
        self._links = links
        self._left = list(sites)

    def bootstrap(self, count: int, *, is_flapping: bool, times: int = 1) -> Round:
        """A new appliance bootstraps the next sites, so many times."""
        chosen, self._left = self._left[:count], self._left[count:]
        directory = Path(tempfile.mkdtemp(prefix="edgemgr-bench-"))
        appliance = Appliance(directory, LAB, EDGEMGR_LEASE_S=str(load_settings().lease_s))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            account = Account("edgemgr-bench-flapping")
            stack.callback(account.close)
            stack.callback(appliance.close)
            stack.callback(self._links.steady)
            csv = directory / "sites.csv"
            csv.write_text(sites_csv(chosen, "flapping"))
            appliance.run("release", "add", str(self._lab.release_directory))
            appliance.run("site", "import", str(csv), timeout_s=STEP_TIMEOUT_S)
            with account.inside():
                appliance.serve()
            with Peak(account) as peak:
                epoch_s = time.monotonic() + LEAD_S
                epoch = datetime.now(UTC).timestamp() + LEAD_S
                if is_flapping:
                    self._links.flap(epoch_s)
                speedometer = stack.enter_context(Speedometer(epoch_s))
                time.sleep(LEAD_S)
                arguments = ("--version", STANDIN_VERSION, "--wait", "--timeout", "60m")
                for _ in range(times):
                    appliance.run("bootstrap", "--all", *arguments, timeout_s=STEP_TIMEOUT_S)
                wall_s = time.monotonic() - epoch_s
            asked_s, attempts = _attempts(directory / "state", epoch)
            done = Round(wall_s, account.cpu_s(), peak.bytes, speedometer.costs, asked_s, attempts)
        assert len(done.done) == len(chosen), f"{len(done.done)} of {len(chosen)} sites are bootstrapped"
        return done


@contextmanager
def flapping_fleet(count: int, quality: LinkQuality, flapping: Flapping, *, is_faked: bool) -> Iterator[FlappingFleet]:
    """So many light sites, none of them known to any appliance."""
    lab = Lab(LAB, subnet=SUBNET, base=load_settings().lab_dir / "base", progress=lambda _: None)
    with ExitStack() as stack:
        lab.down(purge=True)  # what a run left that was killed
        stack.enter_context(room_for_neighbours(count))
        stack.callback(lab.down, purge=True)
        say(f"booting {count} light sites")
        sites = lab.up(count, light=True)
        if is_faked:
            fake(lab, sites)
        offer_release(lab.release_directory)
        links = stack.enter_context(fleet_links(lab, SUBNET, quality, flapping))
        say("all links lead through the relay")
        yield FlappingFleet(lab, links, sites)


def _attempts(state: Path, epoch: float) -> tuple[float, list[AttemptSpan]]:
    database = Database(Settings(state_dir=state).url)
    try:
        with database.read() as session:
            rows = session.exec(
                select(Attempt, Site.name, Operation.created_at)
                .join(Operation, col(Operation.id) == col(Attempt.operation_id))
                .join(Site, col(Site.id) == col(Operation.site_id))
                .where(Operation.kind == OperationKind.BOOTSTRAP.value)  # not the looks at old observations
                .order_by(col(Attempt.id))
            ).all()
    finally:
        database.close()
    asked_s = max(asked_at.timestamp() for _, _, asked_at in rows) - epoch
    return asked_s, [
        AttemptSpan(
            site=int(name.removeprefix("site-")),
            batch=attempt.batch,
            started_s=attempt.started_at.timestamp() - epoch,
            finished_s=attempt.finished_at.timestamp() - epoch,
            outcome=attempt.outcome or "",
        )
        for attempt, name, _ in rows
        if attempt.finished_at is not None
    ]
