"""The link is cut as soon as an upgrade has begun, and stays away for an hour: the site has finished by itself, and the
appliance learns the true result at the next contact.

The hour passes for the appliance alone, in small steps, so that it sees it as it would see a real one.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acceptance_stories import VERSION
from tests_support.appliance import Appliance, until
from upgrade_stories import Company

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NEXT, BAD = "v1.34.1+k3s1", "v1.34.2+k3s1"
GOOD_SITE, BAD_SITE = "site-1", "site-2"
AWAY_S = 3600
#: Below what the queue takes for a clock that was set (30 s) and, with many of them between two of its beats, for a
#: machine that slept.
STEP_S, STEP_EVERY_S, LEASE_S = 15, 0.2, 600
#: Python reads this module before any other. Both clocks of the queue go on together: what it reads of the day and of
#: the time since the boot.
LATE = """\
import datetime
import pathlib
import time

from edgemgr.model import timestamp

offset = pathlib.Path(__file__).with_name("offset")
right_now, right_time = timestamp.utc_now, time.clock_gettime


def late_by():
    return float(offset.read_text() or 0)


def now():
    return right_now() + datetime.timedelta(seconds=late_by())


def clock_gettime(which):
    return right_time(which) + (late_by() if which == time.CLOCK_BOOTTIME else 0)


timestamp.utc_now, time.clock_gettime = now, clock_gettime
"""


class LateClock:
    """The clock of an appliance, which can be made to go fast."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(LATE)
        self._offset = directory / "offset"
        self._late_by_s = 0.0
        self._write()
        found = os.environ.get("PYTHONPATH")
        self.settings = {"PYTHONPATH": f"{directory}{os.pathsep}{found}" if found else str(directory)}

    def pass_s(self, seconds: float) -> None:
        """Let this time pass."""
        until_s = self._late_by_s + seconds
        while self._late_by_s < until_s:
            self._late_by_s += STEP_S
            self._write()
            time.sleep(STEP_EVERY_S)

    def _write(self) -> None:
        beside = self._offset.with_suffix(".new")
        beside.write_text(str(self._late_by_s))
        beside.replace(self._offset)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> LateClock:
    return LateClock(tmp_path_factory.mktemp("clock") / "late")


@pytest.fixture(scope="module")
def company(lab: Lab, appliance: Appliance, clock: LateClock, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A site that is to get a good version and one that is to get a bad one."""
    appliance.environment.update(clock.settings, EDGEMGR_LEASE_S=str(LEASE_S))
    lab.up(2)
    company = Company(appliance, lab, tmp_path_factory.mktemp("vendor"))
    company.begin(GOOD_SITE, BAD_SITE)
    return company


def upgrade_of(company: Company, site: str) -> dict[str, Any]:
    """The site's upgrade; other kinds come and go in an hour."""
    found = company.appliance.items("operation", "list", site)
    return next(each for each in found if each["kind"] == "upgrade")


def begin_and_cut(company: Company, site: str, bundle: str, version: str) -> None:
    how = ("--version", version, "--soak", "3s", "--settle", "25s")
    company.appliance.run("upgrade", bundle, site, *how)
    until(f"{site} has begun", lambda: company.journal(site), 90, pause_s=0.05)
    company.lab.cut(site)


def test_after_an_hour_without_a_link_the_true_result_is_learnt(company: Company, clock: LateClock) -> None:
    bundle = company.bring(51, {NEXT: {}, BAD: {"never_ready": 1}})
    company.stage(bundle, GOOD_SITE, BAD_SITE)
    before = {site: company.till(site) for site in (GOOD_SITE, BAD_SITE)}
    begin_and_cut(company, GOOD_SITE, bundle, NEXT)
    begin_and_cut(company, BAD_SITE, bundle, BAD)

    clock.pass_s(AWAY_S)
    for site, verdict, version in ((GOOD_SITE, "accepted", NEXT), (BAD_SITE, "rolled_back", VERSION)):
        until(f"{site} has finished", lambda site=site: company.verdict(site), 180)  # type: ignore[misc]
        found = company.verdict(site)
        assert found is not None
        assert (found["verdict"], found["version"]) == (verdict, version), company.told(site)
        assert company.runs(site) == version
        assert upgrade_of(company, site)["state"] in {"queued", "running"}, "it is neither given up nor made up"
        assert company.appliance.site(site)["k3s_version"] == VERSION, "what was seen last"

    for site, state, code, version in (
        (GOOD_SITE, "succeeded", "", NEXT),
        (BAD_SITE, "failed", "E-UPGRADE-ROLLED-BACK", VERSION),
    ):
        company.lab.restore(site)
        until(f"{site}'s result is learnt", lambda site=site: upgrade_of(company, site)["finished_at"], 180)  # type: ignore[misc]
        operation, known = upgrade_of(company, site), company.appliance.site(site)
        assert (operation["state"], operation["code"] or "") == (state, code)
        assert (known["k3s_version"], known["health"]) == (version, "healthy")
        lasted = datetime.fromisoformat(operation["finished_at"]) - datetime.fromisoformat(operation["created_at"])
        assert lasted >= timedelta(seconds=AWAY_S)
        assert company.datastore(site)["other"] == []
        assert company.till(site)["uid"] == before[site]["uid"]
        journal = company.journal(site)
        assert sum((each["step"], each["event"]) == ("switch", "begins") for each in journal) == 1, "done once"
        assert not any(each["event"] == "resumed" for each in journal)
    assert "is not Ready" in upgrade_of(company, BAD_SITE)["message"]
