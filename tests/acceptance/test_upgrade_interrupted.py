"""Power, reboots, killed programs and a killed appliance in the middle of an upgrade: it ends by itself, and well.

Every border of a step is cut in tests/playbooks/test_activation_matrix.py, on a played node; here are real machines.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from acceptance_stories import VERSION
from tests_support.appliance import Appliance, until
from upgrade_stories import Company

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NEXT = "v1.34.1+k3s1"
SITES = ("site-1", "site-2", "site-3", "site-4", "site-5")


@pytest.fixture(scope="module")
def company(lab: Lab, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Company:
    lab.up(len(SITES))
    company = Company(appliance, lab, tmp_path_factory.mktemp("vendor"))
    company.begin(*SITES)
    return company


@pytest.fixture(scope="module")
def bundle(company: Company) -> str:
    name = company.bring(31, {NEXT: {}})
    company.stage(name, *SITES)
    return name


def begin(company: Company, bundle: str, site: str, step: str) -> None:
    """Have the site's upgrade at a step."""
    company.appliance.run("upgrade", bundle, site, "--soak", "6s", "--settle", "60s")
    until(
        f"{site} is at {step}",
        lambda: any((each["step"], each["event"]) == (step, "begins") for each in company.journal(site)),
        90,
        pause_s=0.05,
    )


def ends_well(company: Company, site: str) -> str:
    """Wait for what the node says, and for the appliance to know; returns the version that runs."""
    until(f"{site} has finished", lambda: company.verdict(site), 240)
    version = company.runs(site)
    verdict = company.verdict(site)
    assert verdict is not None
    wanted = {"accepted": (NEXT, "succeeded"), "rolled_back": (VERSION, "failed")}[verdict["verdict"]]
    assert version == wanted[0], company.told(site)
    until(f"{site}'s result is known", lambda: company.appliance.operation(site)["state"] == wanted[1], 240)
    found = company.appliance.site(site)
    assert (found["k3s_version"], found["health"]) == (version, "healthy")
    assert company.datastore(site)["other"] == []
    until("the till runs", lambda: company.till(site)["phase"] == "Running", 60)
    return version


def kill_program(company: Company, site: str) -> None:
    company.node(site, "systemctl", "kill", "--signal=KILL", "edgemgr-upgrade-*.service")


def power_off_and_on(company: Company, site: str) -> None:
    company.lab.power_cut(site)
    company.lab.restore(site)


def reboot(company: Company, site: str) -> None:
    company.lab.reboot(site)


@pytest.mark.parametrize(
    ("site", "step", "strike"),
    [
        ("site-1", "snapshot", power_off_and_on),
        ("site-2", "start", power_off_and_on),
        ("site-3", "verify", reboot),
        ("site-4", "verify", kill_program),
    ],
)
def test_the_node_ends_it_by_itself(
    company: Company, bundle: str, site: str, step: str, strike: Callable[[Company, str], None]
) -> None:
    begin(company, bundle, site, step)
    strike(company, site)
    assert ends_well(company, site) == NEXT, company.told(site)
    assert any(each["event"] == "resumed" for each in company.journal(site)), company.told(site)


def test_an_appliance_that_is_killed_learns_the_result_after_its_start(company: Company, bundle: str) -> None:
    begin(company, bundle, "site-5", "verify")
    company.restart()
    assert ends_well(company, "site-5") == NEXT
