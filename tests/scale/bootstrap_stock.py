"""The ways without edgemgr, measured: its own playbook and many small tasks, by ansible-runner as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bootstrap_meter import Meter
from bootstrap_way import AT_ONCE
from consumption import Account
from sqlmodel import col, func, select
from stock_ansible import StockAnsible

from edgemgr.lab.offered_release import STANDIN_VERSION
from edgemgr.lab.simulated_site import SimulatedSite
from edgemgr.model.attempt import Attempt
from edgemgr.model.site import Site
from edgemgr.operations.bootstrap import Bootstrap, BootstrapParams
from edgemgr.runner.content import playbook, playbook_dir
from edgemgr.settings import Settings, load_settings
from edgemgr.store.database import Database

SMALL_TASKS = Path(__file__).with_name("many_small_tasks.yml")
TUNED = {
    "ANSIBLE_PIPELINING": "True",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o Compression=no",
    "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
}


class StockWays:
    """Stock ansible-runners on bare sites of the meter's lab, none used twice."""

    def __init__(self, meter: Meter, directory: Path, stack: ExitStack) -> None:
        self._meter = meter
        self._directory = directory
        self._stack = stack
        self._left = list(meter.lab.list())
        self._stock = StockAnsible(meter.lab, directory / "stock")
        self._stock.open(self._left)
        self._same = same_inputs(directory, [site.name for site in self._left])

    def runner_each(self, count: int) -> None:
        """A run for each site with edgemgr's playbook."""
        sites = self._take(count)
        collections = {"ANSIBLE_COLLECTIONS_PATH": str(playbook_dir() / "collections")}
        path = playbook(playbook_dir(), "bootstrap")
        self._run("runner_each", [[site] for site in sites], path, self._same, at_once=AT_ONCE, settings=collections)

    def small_each(self, count: int, files: dict[str, str] | None = None) -> None:
        """A run for each site with many small tasks; `files` in the place of the release's."""
        groups = [[site] for site in self._take(count)]
        self._run("small_each", groups, SMALL_TASKS, self._small(files), at_once=AT_ONCE, settings={})

    def small_tuned(self, count: int, files: dict[str, str] | None = None) -> None:
        """One run for all of them."""
        groups = [self._take(count)]
        self._run("small_tuned", groups, SMALL_TASKS, self._small(files), at_once=1, settings=TUNED)

    def _take(self, count: int) -> list[SimulatedSite]:
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def _run(
        self,
        key: str,
        groups: Sequence[Sequence[SimulatedSite]],
        path: Path,
        variables: dict[str, dict[str, Any]],
        *,
        at_once: int,
        settings: dict[str, str],
    ) -> None:
        account = Account(f"edgemgr-bench-{key}")
        self._stack.callback(account.close)
        forks = load_settings().forks if at_once == 1 else None
        with self._meter.measured(key, account, sum(map(len, groups))) as extra:
            extra["host_tasks"] = self._stock.run(
                account, groups, path, variables, at_once=at_once, forks=forks, settings=settings
            )

    def _small(self, files: dict[str, str] | None) -> dict[str, dict[str, Any]]:
        return {
            name: {"bench_node_name": name, "bench_k3s_version": STANDIN_VERSION, **(files or _files(variables))}
            for name, variables in self._same.items()
        }


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


def _files(variables: dict[str, Any]) -> dict[str, str]:
    by_part = {file["part"]: file for file in variables["edge_artifacts"]}
    return {
        "bench_binary": by_part["binary"]["path"],
        "bench_images": by_part["images"]["path"],
        "bench_images_name": by_part["images"]["name"],
    }
