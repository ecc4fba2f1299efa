"""Upgrades that are struck at borders of their steps, on many sites at once, and what each of them has to end on."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sqlmodel import col, select
from tests_support.appliance import until
from upgrade_borders import Border, Holder
from upgrade_look import look
from upgrade_stories import UPGRADES, Company

from edgemgr.errors import EdgemgrError
from edgemgr.lab import processes
from edgemgr.model.attempt import Attempt
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.store.database import Database

#: A stand-in is well within seconds; ten of them on a small machine need more of them.
SOAK, SETTLE = "1s", "25s"
#: Minor version of all good versions of the bundle; the bad one never gets Ready.
BAD = "v1.34.99+k3s1"
BAD_FAULTS = {"never_ready": 1.0}
OPERATION_ENDS = {
    "accepted": ("succeeded", ""),
    "rolled_back": ("failed", "E-UPGRADE-ROLLED-BACK"),
    "refused": ("failed", "E-UPGRADE-REFUSED"),
}
HELD_WITHIN_S, ENDS_WITHIN_S, LEARNT_WITHIN_S = 120, 240, 180


class Strike(StrEnum):
    """What happens while the program stands at a border."""

    SCRIPT = "script killed"
    LINK = "link cut"
    REBOOT = "node rebooted"
    POWER = "power cut"
    APPLIANCE = "appliance killed"


class Case(NamedTuple):
    """One upgrade: to a good or a bad version, and what strikes it where, in the order in which it gets there."""

    is_good: bool
    strikes: tuple[tuple[Border, Strike], ...]

    @property
    def ends(self) -> str:
        """The verdict."""
        never_begun = self.strikes[0][0] == Border("lock", "begins", "before")
        if never_begun and self.strikes[0][1] in (Strike.REBOOT, Strike.POWER):
            return "refused"
        return "accepted" if self.is_good else "rolled_back"

    @property
    def kills_appliance(self) -> bool:
        return any(strike is Strike.APPLIANCE for _, strike in self.strikes)

    @property
    def cuts_link(self) -> bool:
        return any(strike is Strike.LINK for _, strike in self.strikes)

    def __str__(self) -> str:
        return ", then ".join(f"{strike} {border}" for border, strike in self.strikes)


class Row(NamedTuple):
    """How a case has ended; without a fault it is as it should be."""

    case: Case
    verdict: str
    fault: str


class Crowd(Company):
    """The company with many sites; its appliance can be away for a while."""

    def die(self) -> None:
        """kill -9 of the appliance with all that works for it."""
        if self._serving.poll() is None:
            self.appliance.kill(self._serving)
        for _ in range(10):
            found = self._workers()
            if not found:
                return
            for process in found:
                processes.kill(process)
        raise AssertionError(f"{found} live on")

    def live(self) -> None:
        """Have it running."""
        if self._serving.poll() is not None:
            self._serving = self.appliance.serve()

    def newest(self, site: str) -> dict[str, Any]:
        """The newest upgrade of a site, and what the appliance knows of the site, past the command line."""
        database = Database(f"sqlite:///{self.appliance.directory / 'state/edgemgr.db'}")
        try:
            with database.read() as session:
                known = session.exec(select(Site).where(Site.name == site)).one()
                upgrades = select(Operation).where(
                    Operation.site_id == known.id, Operation.kind == OperationKind.UPGRADE
                )
                operation = session.exec(upgrades.order_by(col(Operation.id).desc()).limit(1)).one()
                cluster = session.exec(select(Cluster).where(Cluster.site_id == known.id)).one()
                attempts = select(Attempt.id).where(col(Attempt.operation_id) == operation.id)
                return {
                    "state": operation.state,
                    "ended": operation.state not in OPEN_STATES,
                    "code": operation.code,
                    "version": cluster.k3s_version,
                    "health": cluster.health,
                    "attempts": list(session.exec(attempts)),
                }
        finally:
            database.close()

    def _workers(self) -> list[processes.ProcessIdentity]:
        """What works in the appliance's runtime directory: Ansible and its connections."""
        marker = os.fsencode(f"{self.appliance.directory / 'run'}/")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if marker in (entry / "cmdline").read_bytes():
                        found.append(processes.identify(int(entry.name)))
                except OSError:
                    continue
        return [process for process in found if process is not None]


class Matrix:
    """Sites on which cases are carried out, a wave of one case a site at a time."""

    def __init__(self, crowd: Crowd, sites: Sequence[str], bundle: str, goals: Iterable[str]) -> None:
        self.crowd, self.sites, self._bundle = crowd, list(sites), bundle
        self._goals = iter(goals)
        self._holders = {site: Holder(crowd.lab, site) for site in sites}
        self._before = {site: look(crowd, site, "none") for site in sites}
        for holder in self._holders.values():
            holder.install()

    def carry_out(self, cases: Sequence[Case]) -> list[Row]:
        """All of them, good and bad ones apart, as one command starts a wave."""
        rows = []
        for is_good in (True, False):
            # What kills the appliance kills it for all of a wave.
            waiting = sorted((case for case in cases if case.is_good is is_good), key=lambda case: case.kills_appliance)
            while waiting:
                wave = dict(zip(self.sites, waiting, strict=False))
                waiting = waiting[len(wave) :]
                rows += self._wave(wave, next(self._goals) if is_good else BAD)
        return rows

    def _wave(self, cases: Mapping[str, Case], goal: str) -> list[Row]:
        stamps = [time.monotonic()]
        faults: dict[str, str] = {}

        def each(act: Callable[[str], None], sites: Iterable[str]) -> None:
            def attempt(site: str) -> None:
                try:
                    act(site)
                except (AssertionError, EdgemgrError) as exc:
                    faults[site] = f"{exc}\n{self._holders[site].read(f'{UPGRADES}/journal.jsonl')}"

            list(pool.map(attempt, [site for site in sites if site not in faults]))

        with ThreadPoolExecutor(len(cases)) as pool:
            each(lambda site: self._holders[site].want([border for border, _ in cases[site].strikes]), cases)
            self._ask(cases, goal)
            for turn in range(max(len(case.strikes) for case in cases.values())):
                struck = [site for site, case in cases.items() if turn < len(case.strikes)]
                each(lambda site, turn=turn: self._await_held(site, cases[site].strikes[turn][0]), struck)
                if any(cases[site].strikes[turn][1] is Strike.APPLIANCE for site in struck):
                    self.crowd.die()
                each(lambda site, turn=turn: self._strike(site, cases[site].strikes[turn][1]), struck)
                stamps.append(time.monotonic())
            each(self._await_verdict, cases)
            stamps.append(time.monotonic())
            for site, case in cases.items():
                if case.cuts_link:
                    self.crowd.lab.restore(site)
            self.crowd.live()
            each(self._await_learnt, cases)
            stamps.append(time.monotonic())
            each(lambda site: self._check(site, cases[site], goal), cases)
        self.sites = [site for site in self.sites if site not in faults]
        stamps.append(time.monotonic())
        spent = ", ".join(f"{after - before:.0f}" for before, after in pairwise(stamps))
        sys.stdout.write(f"{goal}: {len(cases)} cases, {len(faults)} with faults; seconds for each part: {spent}\n")
        return [
            Row(case, self._verdict(site).get("verdict", "none"), faults.get(site, "")) for site, case in cases.items()
        ]

    def _ask(self, sites: Iterable[str], goal: str) -> None:
        config = self.crowd.vendor.directory / "config.yaml"
        config.write_text(yaml.safe_dump({"node-label": [f"goal={label_of(goal)}"]}))
        how = ("--version", goal, "--config", str(config), "--soak", SOAK, "--settle", SETTLE)
        self.crowd.appliance.run("upgrade", self._bundle, *sites, *how)

    def _await_held(self, site: str, border: Border) -> None:
        until(f"{site} stands {border}", self._holders[site].held, HELD_WITHIN_S, pause_s=0.05)

    def _strike(self, site: str, strike: Strike) -> None:
        lab, holder = self.crowd.lab, self._holders[site]
        if strike is Strike.SCRIPT:
            self.crowd.node(site, "kill", "-KILL", str(holder.held()))
        elif strike is Strike.LINK:
            lab.cut(site)
        elif strike is Strike.REBOOT:
            lab.reboot(site)
        elif strike is Strike.POWER:
            lab.power_cut(site)
            lab.restore(site)
        if strike in (Strike.LINK, Strike.APPLIANCE):  # else it is dead, and what comes after it does not wait
            holder.release()
        holder.look_further()

    def _verdict(self, site: str) -> dict[str, Any]:
        content = self._holders[site].read(f"{UPGRADES}/verdict.json")
        return json.loads(content) if content else {}

    def _await_verdict(self, site: str) -> None:
        until(f"{site} has ended", lambda: self._verdict(site), ENDS_WITHIN_S)

    def _await_learnt(self, site: str) -> None:
        until(f"{site}'s result is learnt", lambda: self.crowd.newest(site)["ended"], LEARNT_WITHIN_S, pause_s=1)

    def _check(self, site: str, case: Case, goal: str) -> None:
        """Old with old data or new with new data, everybody says so, and nothing is left behind."""
        before, verdict, operation = self._before[site], self._verdict(site), self.crowd.newest(site)
        until(f"the till of {site} runs", lambda: self.crowd.till(site)["phase"] == "Running", 60, pause_s=1)
        now = look(self.crowd, site, f"{verdict['id']}-0")
        self._before[site] = now
        is_new = verdict["verdict"] == "accepted"
        version = goal if is_new else before["api"]
        label = label_of(goal) if is_new else before["label"]
        journal = [json.loads(line) for line in self._holders[site].read(f"{UPGRADES}/journal.jsonl").splitlines()]
        begun = any(each["step"] == "stop" for each in journal)
        found = {
            "verdict": verdict["verdict"],
            "verdicts in the journal": [each["verdict"] for each in journal if each["step"] == "verdict"],
            "version of the verdict": verdict["version"],
            "running": now["api"],
            "kubelet": now["kubelet"],
            "binary": now["binary"],
            "label": now["label"],
            "config is the old one": now["config"] == before["config"],
            "other rows": now["other_rows"],
            "has a snapshot": now["snapshot_rows"] > 0,
            "last writer": now["writers"][-1],
            "the new version has written": goal in now["writers"],
            "Ready": now["ready"],
            "cordoned": now["cordoned"],
            "at work": now["at_work"],
            "lock is free": now["lock_is_free"],
            "left": now["left"],
            "plans": {each["plan"] for each in journal},
            "is of this operation": verdict["id"] in operation["attempts"],
            "operation": (operation["state"], operation["code"]),
            "appliance says": (operation["version"], operation["health"]),
        }
        wanted = {
            "verdict": case.ends,
            "verdicts in the journal": [case.ends],
            "version of the verdict": version,
            "running": version,
            "kubelet": version,
            "binary": before["binary"].replace(before["api"], version),
            "label": label,
            "config is the old one": not is_new,
            "other rows": [],
            "has a snapshot": begun,
            "last writer": version,
            "the new version has written": is_new,
            "Ready": "True",
            "cordoned": False,
            "at work": [],
            "lock is free": True,
            "left": [],
            "plans": {verdict["id"]},
            "is of this operation": True,
            "operation": OPERATION_ENDS[case.ends],
            "appliance says": (version, "healthy"),
        }
        wrong = {name: value for name, value in found.items() if value != wanted[name]}
        assert not wrong, f"{wrong} instead of {wanted}"


def label_of(version: str) -> str:
    """A version as the value of a label."""
    return version.replace("+", "-")


def table(rows: Sequence[Row]) -> str:
    """For each border and strike how it ended, with a star where something was wrong."""
    cells: dict[tuple[bool, Border], dict[Strike, str]] = {}
    for row in rows:
        for border, strike in row.case.strikes:
            found = cells.setdefault((row.case.is_good, border), dict.fromkeys(Strike, ""))
            told = row.verdict + "*" * bool(row.fault)
            if told not in found[strike].split():
                found[strike] = f"{found[strike]} {told}".strip()
    lines = [f"{'good' if is_good else 'bad':6}{border!s:32}" + "".join(f"{found[each]:18}" for each in Strike)
             for (is_good, border), found in cells.items()]  # fmt: skip
    ends = Counter(row.verdict for row in rows)
    head = " " * 38 + "".join(f"{strike:18}" for strike in Strike)
    return "\n".join([head, *lines, ", ".join(f"{number} {verdict}" for verdict, number in ends.items())])
