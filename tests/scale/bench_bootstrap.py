"""`make bench-bootstrap`: what a bootstrap of many sites costs the appliance, beside what a user could do without it.

Light sites of the lab on this machine; in one run edgemgr as installed, then ansible-runner as it comes. Writes
docs/benchmarks.md and its picture; with fewer sites than usual (a trial) only prints.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_page import AT_ONCE, Machine, Way, write_page
from consumption import Account, Peak, machine_busy_s, process_cpu_s
from sqlmodel import col, func, select
from stock_ansible import StockAnsible
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.offered_release import STANDIN_VERSION, offer_release
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.model.attempt import Attempt
from edgemgr.model.site import Site
from edgemgr.operations.bootstrap import Bootstrap, BootstrapParams
from edgemgr.runner.content import playbook, playbook_dir
from edgemgr.settings import Settings, load_settings
from edgemgr.store.database import Database

USUAL_SITES = 200
USUAL_SAMPLE = 24
LAB = Path("/var/lib/edgemgr-lab-bench")
SUBNET = "10.230.0.0/16"
CACHE, KEPT = "/var/lib/edgemgr/cache", "/var/lib/edgemgr-bench-cache"
SMALL_TASKS = Path(__file__).with_name("many_small_tasks.yml")
STEP_TIMEOUT_S = 3600
_began = time.monotonic()


def say(line: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _began:7.1f}s  {line}\n")
    sys.stderr.flush()


class Bench:
    """The lab, the appliance, and an account for each side."""

    def __init__(self, lab: Lab, appliance: Appliance, sites: Account, controller: Account) -> None:
        self.lab = lab
        self.appliance = appliance
        self.sites = sites
        self.controller = controller
        self.ways: list[Way] = []

    @contextmanager
    def measured(self, key: str, account: Account, sites: int) -> Iterator[dict[str, float]]:
        """Measure the block; it fills in what only it knows: `host_tasks`, `own_cpu_s`."""
        say(f"{key}: {sites} sites")
        extra: dict[str, float] = {}
        before = self._readings(account)
        with Peak(account) as peak:
            yield extra
            spent = [now - then for now, then in zip(self._readings(account), before, strict=True)]
        wall_s, commands_s, account_s, nodes_s, busy_s = spent
        way = Way(
            key=key,
            sites=sites,
            wall_s=wall_s,
            cpu_s=account_s + commands_s,
            nodes_cpu_s=nodes_s,
            others_cpu_s=max(0.0, busy_s - account_s - commands_s - nodes_s),
            memory_bytes=peak.bytes,
            host_tasks=extra["host_tasks"],
            own_cpu_s=extra.get("own_cpu_s", 0.0),
        )
        self.ways.append(way)
        say(
            f"{key}: {way.sites_per_minute:.0f} sites/min, controller {way.cpu_s_per_site:.3f} s a site, "
            f"sites {way.nodes_cpu_s / sites:.2f} s, {way.memory_bytes / 2**20:.0f} MiB"
        )

    def _readings(self, account: Account) -> tuple[float, ...]:
        commands = 0.0
        if account is self.controller:  # the commands are children of ours, outside of the account
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            commands = used.ru_utime + used.ru_stime
        return time.monotonic(), commands, account.cpu_s(), self.sites.cpu_s(), machine_busy_s()

    def bootstrap(self, key: str, serve_pid: int, count: int) -> None:
        """`edgemgr bootstrap --all`, until every site is healthy."""
        with self.measured(key, self.controller, count) as extra:
            own = process_cpu_s(serve_pid)
            arguments = ("--version", STANDIN_VERSION, "--wait", "--timeout", "60m")
            self.appliance.run("bootstrap", "--all", *arguments, timeout_s=STEP_TIMEOUT_S)
            extra["own_cpu_s"] = process_cpu_s(serve_pid) - own
            extra["host_tasks"] = self._host_tasks()
        found = self.appliance.items("site", "list")
        healthy = [site for site in found if (site["health"], site["k3s_version"]) == ("healthy", STANDIN_VERSION)]
        assert len(healthy) == len(found) == count, f"{len(healthy)} of {count} sites are healthy"

    def _host_tasks(self) -> int:
        """How many tasks the last operation had, by its log."""
        (last,) = self.appliance.items("operation", "list", "--limit", "1")
        words = [line.split()[1:2] for line in self.appliance.run("operation", "logs", str(last["id"])).splitlines()]
        return sum(word in (["ok"], ["changed"], ["skipped"]) for word in words)

    def reset(self) -> None:
        say("reset")
        self.appliance.run("reset", "--all", "--yes", "--wait", "--timeout", "60m", timeout_s=STEP_TIMEOUT_S)

    def on_every_site(self, script: str) -> None:
        """A shell command as root, past SSH."""

        def one(site: SimulatedSite) -> None:
            done = self.lab.run(site.name, ["sh", "-ec", script])
            assert done.returncode == 0, f"{site.name}: {done.stderr}"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, self.lab.list()))


def measure_edgemgr(bench: Bench, count: int) -> tuple[float, float]:
    """First contact with bytes; again with nothing to do; from bare again with the files there. Returns the import."""
    appliance = bench.appliance
    appliance.run("release", "add", str(bench.lab.release_directory))
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    appliance.run("site", "import", str(bench.lab.csv_path))
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    imported = time.monotonic() - began, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    with bench.controller.inside():
        pid = appliance.serve().pid
    bench.bootstrap("first", pid, count)
    bench.bootstrap("again", pid, count)
    bench.on_every_site(f"cp -a {CACHE} {KEPT}")
    bench.reset()
    bench.on_every_site(f"mkdir -p {CACHE.rpartition('/')[0]}; mv {KEPT} {CACHE}")
    bench.bootstrap("staged", pid, count)
    bench.reset()
    appliance.close()
    return imported


def measure_stock(bench: Bench, directory: Path, sample: int, batch_size: int, stack: ExitStack) -> None:
    """ansible-runner as it comes, on bare sites that none of the others has used."""
    sites = list(bench.lab.list())
    stock = StockAnsible(bench.lab, directory / "stock")
    stock.open(sites)
    ours, theirs, batch = sites[:sample], sites[sample : 2 * sample], sites[2 * sample :][:batch_size]
    same = same_inputs(directory, [site.name for site in sites])
    small = {name: small_variables(name, variables) for name, variables in same.items()}
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(playbook_dir() / "collections")}
    tuned = {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o Compression=no",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }
    forks = load_settings().forks
    stock_runs: tuple[tuple[str, list[SimulatedSite], Callable[[Account], float]], ...] = (
        (
            "runner_each",
            ours,
            lambda account: stock.run(
                account,
                [[site] for site in ours],
                playbook(playbook_dir(), "bootstrap"),
                same,
                at_once=AT_ONCE,
                settings=collections,
            ),
        ),
        (
            "small_each",
            theirs,
            lambda account: stock.run(
                account, [[site] for site in theirs], SMALL_TASKS, small, at_once=AT_ONCE, settings={}
            ),
        ),
        (
            "small_tuned",
            batch,
            lambda account: stock.run(account, [batch], SMALL_TASKS, small, at_once=1, forks=forks, settings=tuned),
        ),
    )
    for key, chosen, run in stock_runs:
        account = Account(f"edgemgr-bench-{key}")
        stack.callback(account.close)
        with bench.measured(key, account, len(chosen)) as extra:
            extra["host_tasks"] = run(account)


def same_inputs(directory: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The variables that edgemgr would hand to its playbook for these sites at its next attempt."""
    settings = Settings(state_dir=directory / "state")
    database = Database(settings.url)
    try:
        with database.read() as session:
            newest = session.exec(select(func.max(Attempt.id))).one()
            sites = session.exec(select(Site).where(col(Site.name).in_(names))).all()
            params = BootstrapParams(version=STANDIN_VERSION)
            return {
                site.name: {
                    "edge_site": site.name,
                    "edge_attempt": newest + 1,  # nodes refuse an older one
                    "edge_arch": site.arch or "",
                    **Bootstrap().variables(session, params, site, settings),
                }
                for site in sites
            }
    finally:
        database.close()


def small_variables(name: str, variables: dict[str, Any]) -> dict[str, str]:
    by_part = {file["part"]: file for file in variables["edge_artifacts"]}
    return {
        "bench_node_name": name,
        "bench_k3s_version": STANDIN_VERSION,
        "bench_binary": by_part["binary"]["path"],
        "bench_images": by_part["images"]["path"],
        "bench_images_name": by_part["images"]["name"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=USUAL_SITES, help="fewer make a trial, which only prints")
    parser.add_argument("--sample", type=int, default=USUAL_SAMPLE, help="sites for each stock ansible-runner way")
    parser.add_argument("--keep", action="store_true", help="leave the sites and the appliance's state to be looked at")
    options = parser.parse_args()
    if options.sites < 3 * options.sample or options.sample < 1:
        parser.error("three times the sample must fit into the sites: every way gets bare ones")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load_settings()
    machine = Machine.read()
    lab = Lab(LAB, subnet=SUBNET, base=settings.lab_dir / "base", progress=lambda _: None)
    directory = Path(tempfile.mkdtemp(prefix="edgemgr-bench-"))
    appliance = Appliance(directory, LAB, EDGEMGR_LEASE_S=str(settings.lease_s))
    with ExitStack() as stack:
        lab.down(purge=True)  # what a run left that was killed
        sites, controller = (Account(f"edgemgr-bench-{name}") for name in ("sites", "controller"))
        if options.keep:
            stack.callback(say, f"left behind: {LAB} and {directory}")
        else:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            stack.callback(sites.close)
            stack.callback(lab.down, purge=True)
        stack.callback(controller.close)
        stack.callback(appliance.close)
        bench = Bench(lab, appliance, sites, controller)
        say(f"booting {options.sites} light sites")
        with bench.sites.inside():
            lab.up(options.sites, light=True)
        offer_release(lab.release_directory)
        imported = measure_edgemgr(bench, options.sites)
        measure_stock(bench, directory, options.sample, settings.batch_size, stack)
        release_bytes = sum(file.stat().st_size for file in lab.release_directory.glob("k3s*") if file.suffix != ".txt")
    machine = dataclasses.replace(machine, batch_size=settings.batch_size, forks=settings.forks)
    is_trial = options.sites < USUAL_SITES
    write_page(
        bench.ways,
        machine,
        imported=imported,
        release_bytes=release_bytes,
        took_s=time.monotonic() - _began,
        is_trial=is_trial,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("given up")
