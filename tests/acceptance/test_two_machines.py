"""Two workers on two machines and one PostgreSQL: one is cut off, and the other takes over, once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from acceptance_stories import import_sites
from sqlmodel import col, select
from tests_support.appliance import PROGRAM, Appliance, until
from tests_support.own_lab import own_lab
from tests_support.postgresql import PostgresServer, find_postgresql
from tests_support.witness import OPEN, ask_for_free_sites, let_sites_bear_witness, witness_content

from edgemgr.lab.lab import Lab
from edgemgr.lab.network import SiteNetwork, create_network, cut_link, delete_network, mend_link, site_network
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.model.worker import Worker
from edgemgr.store.database import LINK_LOOK_S, Database

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SITES = 4
#: If the cut falls into a transaction, PostgreSQL must first notice that nobody answers any more.
GIVEN_UP_S = 4 * LINK_LOOK_S + 10
FORWARDING = Path("/proc/sys/net/ipv4/conf")


class FarWorker:
    """`edgemgr worker` in a network and a pid namespace of its own: another machine, as far as it can tell."""

    def __init__(self, directory: Path, net: SiteNetwork, url: str, settings: dict[str, str]) -> None:
        self.net = net
        self.home = Appliance(
            directory,
            directory,
            EDGEMGR_DATABASE_URL=url.replace("127.0.0.1", net.gateway),
            **settings,
        )
        directory.mkdir()
        inside = ["ip", "netns", "exec", net.namespace, "unshare", "--pid", "--fork", "--mount-proc"]
        with self.home.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*inside, "--kill-child=KILL", str(PROGRAM), "worker"],
                env=self.home.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def names(self) -> list[str]:
        """The names under which it has been registered, as its log tells."""
        words = [line.split() for line in self.home.log.read_text().splitlines()]
        return [line[-2] for line in words if line[-1:] == ["started"] and "worker" in line]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=30)


class Office:
    """The operator's side: the database, and what the sites saw."""

    def __init__(self, lab: Lab, url: str) -> None:
        self.lab = lab
        self.database = Database(url)
        with self.database.read() as session:
            self.site_ids = [number for number in session.exec(select(Site.id)).all() if number is not None]

    def ask(self) -> None:
        """Have something queued for every site that has nothing open."""
        ask_for_free_sites(self.database, self.site_ids)

    def attempts(self, worker_id: str) -> list[Attempt]:
        with self.database.read() as session:
            return list(session.exec(select(Attempt).where(Attempt.worker_id == worker_id)).all())

    def settled_by(self, worker_id: str, outcome: str) -> bool:
        self.ask()
        return any(attempt.outcome == outcome for attempt in self.attempts(worker_id))

    def under_way(self, worker_id: str) -> list[int]:
        return [attempt.id or 0 for attempt in self.attempts(worker_id) if attempt.outcome is None]

    def all_ended(self) -> bool:
        with self.database.read() as session:
            return not session.exec(select(Operation.id).where(col(Operation.state).in_(OPEN))).all()

    def check(self) -> None:
        let_sites_bear_witness(self.database, self.lab)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("two-machines", "10.214.1.0/24", sites=SITES) as lab:
        yield lab


@pytest.fixture(scope="module")
def networks(lab: Lab) -> Iterator[list[SiteNetwork]]:
    """A link for each machine; what comes in there, and from the sites, is passed on."""
    nets = [site_network(Path("/two-machines"), "10.214.2.0/24", number) for number in (1, 2)]
    try:
        for net in nets:
            create_network(net)
        for net in (*nets, *(lab._net(site) for site in lab.list())):
            (FORWARDING / net.interface / "forwarding").write_text("1")
        yield nets
    finally:
        for net in nets:
            delete_network(net)


@pytest.fixture(scope="module")
def server(networks: list[SiteNetwork]) -> Iterator[PostgresServer]:
    server = PostgresServer(find_postgresql())
    server.start(addresses=[net.gateway for net in networks])
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def office(lab: Lab, server: PostgresServer, tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "office").mkdir()
    url = server.new_database()
    import_sites(Appliance(tmp_path / "office", lab.directory, EDGEMGR_DATABASE_URL=url), lab)
    office = Office(lab, url)
    yield office
    office.database.close()


@pytest.fixture
def far(office: Office, networks: list[SiteNetwork], lease_s: float, tmp_path: Path) -> Iterator[list[FarWorker]]:
    settings = {
        "EDGEMGR_KEY_FILE": str(tmp_path / "office" / "state" / "secret.key"),
        "EDGEMGR_LEASE_S": str(lease_s),
        "EDGEMGR_BATCH_SIZE": "2",
        **witness_content(tmp_path / "content"),
    }
    url = office.database.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(FarWorker(tmp_path / net.namespace, net, url, settings))) for net in networks
        ]


def cut_off_at_work(office: Office, cut: FarWorker) -> tuple[list[int], float]:
    """Cut a machine off while it holds attempts that are not just ending; returns them, and when that was."""
    for _ in range(20):
        until("it is at work", lambda: office.ask() or office.under_way(cut.names[0]), 60, pause_s=0.05)
        cut_link(cut.net)
        cut_at = time.monotonic()
        time.sleep(0.3)  # what it had said by then has arrived
        held = office.under_way(cut.names[0])
        if held:
            return held, cut_at
        mend_link(cut.net)
    raise AssertionError("it was never at work when it was cut off")


@pytest.mark.parametrize(("lease_s", "cut_s"), [(3.0, 20.0), pytest.param(30.0, 600.0, marks=pytest.mark.exhaustive)])
def test_a_machine_that_is_cut_off_loses_its_attempts_once_and_changes_nothing_any_more(
    office: Office, far: list[FarWorker], lease_s: float, cut_s: float
) -> None:
    cut, other = far
    for worker in far:
        until("it has started", lambda worker=worker: worker.names, 60)  # type: ignore[misc]
        until("it does its part", lambda worker=worker: office.settled_by(worker.names[0], "succeeded"), 120)  # type: ignore[misc]
    name = cut.names[0]
    held, cut_at = cut_off_at_work(office, cut)
    until("it was given up", lambda: office.ask() or not office.under_way(name), GIVEN_UP_S + lease_s, pause_s=0.1)
    assert time.monotonic() - cut_at > lease_s / 2, "not before its lease was over"
    while time.monotonic() - cut_at < cut_s:
        office.ask()
        time.sleep(0.5)
    before = {attempt.id: attempt.outcome for attempt in office.attempts(name)}
    assert {before[number] for number in held} <= {"lost", "succeeded", "failed"}
    lost = [number for number, outcome in before.items() if outcome == "lost"]
    assert lost, "its attempts were taken back"

    mend_link(cut.net)
    until("it is back under another name", lambda: cut.names[1:], 60)
    until("it works again", lambda: office.settled_by(cut.names[-1], "succeeded"), 120)
    until("everything has ended", office.all_ended, 120)
    assert {attempt.id: attempt.outcome for attempt in office.attempts(name)} == before, "nothing late was written"
    assert "was given up by the others" in cut.home.log.read_text()
    office.check()
    with office.database.read() as session:
        losses = session.exec(select(Operation.lost).join(Attempt).where(col(Attempt.id).in_(lost))).all()
        workers = session.exec(select(Worker).where(col(Worker.id).in_([name, other.names[0]]))).all()
    assert set(losses) == {1}, "each was taken over once"
    assert [worker.id for worker in workers if worker.stopped_at is not None] == [name]
