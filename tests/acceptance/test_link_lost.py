"""Links and processes that go away in the middle: nothing is lost, nobody else waits, and it goes on by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from acceptance_stories import VERSION, import_sites
from testinfra.host import Host
from tests_support.appliance import Appliance, until

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: What an operator is promised: within this time of the link's return the operation runs again.
BACK_WITHIN_S = 10.0


@pytest.fixture
def under_way(lab: Lab, appliance: Appliance) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Three bare sites, and a way to have a bootstrap of all of them under way."""
    lab.down()
    lab.up(3)
    known = [site["name"] for site in appliance.items("site", "list")]
    if known:
        appliance.run("site", "delete", *known, "--yes")
    import_sites(appliance, lab)

    def begin() -> subprocess.Popen[bytes]:
        serving = appliance.serve()
        appliance.run("bootstrap", "--all", "--version", VERSION)
        until("site-2 is under way", lambda: appliance.operation("site-2")["state"] == "running", 60)
        until("its playbook has begun", lambda: "begins" in _log(appliance, "site-2"), 60)
        return serving

    yield begin
    appliance.close()


def _log(appliance: Appliance, site: str) -> str:
    return appliance.attempt("operation", "logs", str(appliance.operation(site)["id"])).stdout


def _waits_for_contact(appliance: Appliance) -> bool:
    operation = appliance.operation("site-2")
    return (operation["state"], operation["waiting_for"]) == ("queued", "contact")


def _ends_healthy(appliance: Appliance, *names: str) -> None:
    for name in names:
        until(f"{name} is done", lambda name=name: appliance.operation(name)["state"] == "succeeded", 120)  # type: ignore[misc]
        assert appliance.site(name)["health"] == "healthy"


def _runs_again_in_time(appliance: Appliance) -> None:
    until("it runs again", lambda: appliance.operation("site-2")["state"] in {"running", "succeeded"}, BACK_WITHIN_S)


def test_a_site_whose_link_is_cut_waits_and_goes_on_by_itself(
    lab: Lab, appliance: Appliance, under_way: Callable[[], object]
) -> None:
    under_way()
    lab.cut("site-2")
    _ends_healthy(appliance, "site-1", "site-3")
    until("the cut is noticed", lambda: _waits_for_contact(appliance), 90)
    assert appliance.site("site-2")["reachability"] == "unreachable"
    assert appliance.operation("site-2")["attempts"] >= 1
    lab.restore("site-2")
    _runs_again_in_time(appliance)
    _ends_healthy(appliance, "site-2")


def test_a_site_whose_power_is_cut_waits_and_goes_on_by_itself(
    lab: Lab, appliance: Appliance, under_way: Callable[[], object], look: Callable[[str], Host]
) -> None:
    under_way()
    lab.power_cut("site-2")
    _ends_healthy(appliance, "site-1", "site-3")
    until("the cut is noticed", lambda: _waits_for_contact(appliance), 90)
    lab.restore("site-2")
    _runs_again_in_time(appliance)
    _ends_healthy(appliance, "site-2")
    assert look("site-2").service("k3s").is_running


def test_a_worker_that_is_killed_loses_nothing(
    appliance: Appliance, under_way: Callable[[], subprocess.Popen[bytes]]
) -> None:
    serving = under_way()
    appliance.kill(serving)
    assert appliance.operation("site-2")["state"] == "running"
    appliance.serve()
    _runs_again_in_time(appliance)
    _ends_healthy(appliance, "site-1", "site-2", "site-3")
    numbers = [item["attempts"] for item in appliance.items("operation", "list", "--limit", "3")]
    assert max(numbers) == 2, "what was under way was tried a second time, not more"
