"""Measures ways to bootstrap the sites of a lab: an account for the controller's side and one for the sites."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from bootstrap_way import AT_ONCE, Way
from consumption import Account, Peak, machine_busy_s, process_cpu_s
from progress import say
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab
from edgemgr.lab.offered_release import STANDIN_VERSION
from edgemgr.lab.simulated_site import SimulatedSite

STEP_TIMEOUT_S = 3600


@dataclass
class Meter:
    """The lab, the appliance, the accounts, and the ways that were measured so far."""

    lab: Lab
    appliance: Appliance
    sites: Account
    controller: Account
    ways: list[Way] = field(default_factory=list)

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

    def serve(self) -> int:
        """Start the appliance on its account; returns its process id."""
        with self.controller.inside():
            return self.appliance.serve().pid

    def bootstrap(self, key: str, serve_pid: int, count: int) -> None:
        """`edgemgr bootstrap --all`, until every site is healthy."""
        with self.measured(key, self.controller, count) as extra:
            own = process_cpu_s(serve_pid)
            self.ask_for_all()
            extra["own_cpu_s"] = process_cpu_s(serve_pid) - own
            extra["host_tasks"] = self._host_tasks()
        found = self.appliance.items("site", "list")
        healthy = [site for site in found if (site["health"], site["k3s_version"]) == ("healthy", STANDIN_VERSION)]
        assert len(healthy) == len(found) == count, f"{len(healthy)} of {count} sites are healthy"

    def ask_for_all(self) -> None:
        """Bootstrap every site, and wait."""
        arguments = ("--version", STANDIN_VERSION, "--wait", "--timeout", "60m")
        self.appliance.run("bootstrap", "--all", *arguments, timeout_s=STEP_TIMEOUT_S)

    def _host_tasks(self) -> int:
        """How many tasks the last operation had, by its log."""
        (last,) = self.appliance.items("operation", "list", "--limit", "1")
        words = [line.split()[1:2] for line in self.appliance.run("operation", "logs", str(last["id"])).splitlines()]
        return sum(word in (["ok"], ["changed"], ["skipped"]) for word in words)

    def reset(self) -> None:
        """Make all sites bare again."""
        say("reset")
        self.appliance.run("reset", "--all", "--yes", "--wait", "--timeout", "60m", timeout_s=STEP_TIMEOUT_S)

    def on_every_site(self, script: str) -> None:
        """A shell command as root, past SSH."""

        def one(site: SimulatedSite) -> None:
            done = self.lab.run(site.name, ["sh", "-ec", script])
            assert done.returncode == 0, f"{site.name}: {done.stderr}"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, self.lab.list()))
