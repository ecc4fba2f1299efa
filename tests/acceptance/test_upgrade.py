"""An upgrade ends on the new version, or on the old one with its data; nobody is on the spot, and no link is needed."""

from __future__ import annotations

import json

import pytest
from tests_support.appliance import Appliance, until
from upgrade_stories import Company

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NEXT, SECOND, THIRD = "v1.34.1+k3s1", "v1.35.1+k3s1", "v1.36.0+k3s1"


@pytest.fixture(scope="module")
def company(lab: Lab, appliance: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Two sites, and a bundle with three versions at both."""
    lab.up(2)
    company = Company(appliance, lab, tmp_path_factory.mktemp("vendor"))
    company.begin("site-1", "site-2")
    return company


@pytest.fixture(scope="module")
def bundle(company: Company) -> str:
    name = company.bring(1, {NEXT: {}, SECOND: {}, THIRD: {}})
    company.stage(name, "site-1", "site-2")
    return name


def test_a_good_version_is_verified_and_what_runs_is_left_alone(company: Company, bundle: str) -> None:
    before = company.till("site-1")
    company.upgrade(bundle, "site-1", "--version", NEXT)
    assert company.runs("site-1") == NEXT
    site = company.appliance.site("site-1")
    assert (site["k3s_version"], site["health"], site["update"]) == (NEXT, "healthy", "up_to_date")
    assert company.till("site-1") == before, "the same container as before"
    verdict = company.verdict("site-1")
    assert verdict is not None
    assert (verdict["verdict"], verdict["version"]) == ("accepted", NEXT)


def test_a_link_that_is_cut_after_the_begin_is_not_needed_and_the_result_is_learnt_later(
    company: Company, bundle: str
) -> None:
    appliance = company.appliance
    appliance.run("upgrade", bundle, "site-2", "--version", NEXT, "--soak", "4s", "--settle", "25s")
    until("k3s stands still", lambda: any(each["step"] == "stop" for each in company.journal("site-2")), 60)
    company.lab.cut("site-2")
    until("it has finished", lambda: company.verdict("site-2"), 120)
    assert company.runs("site-2") == NEXT
    operation = appliance.operation("site-2")
    assert (operation["kind"], operation["state"]) in {("upgrade", "queued"), ("upgrade", "running")}
    company.lab.restore("site-2")
    until("it is learnt", lambda: appliance.operation("site-2")["state"] == "succeeded", 180)
    assert appliance.site("site-2")["k3s_version"] == NEXT
    begun = [each for each in company.journal("site-2") if (each["step"], each["event"]) == ("switch", "begins")]
    assert len(begun) == 1, "it was not done twice"
    shown = json.loads(appliance.run("operation", "show", str(appliance.operation("site-2")["id"]), "-o", "json"))
    assert {each["outcome"] for each in shown["attempts"]} <= {"lost", "unreachable", "succeeded"}, "none has failed"


def test_three_minor_versions_in_one_visit_have_a_gate_each(company: Company, bundle: str) -> None:
    before = company.till("site-1")
    company.upgrade(bundle, "site-1")
    assert company.runs("site-1") == THIRD
    verdict = company.verdict("site-1")
    assert verdict is not None
    assert [hop["to_version"] for hop in verdict["hops"]] == [SECOND, THIRD]
    verified = [
        each["hop"] for each in company.journal("site-1") if (each["step"], each["event"]) == ("verify", "done")
    ]
    assert verified == [0, 1]
    assert company.till("site-1") == before


def test_a_way_that_lacks_a_version_is_refused_with_the_version(company: Company) -> None:
    gap = company.bring(9, {THIRD: {}})
    done = company.appliance.attempt("upgrade", gap, "site-2")
    assert done.returncode == 5
    assert f"does not hold k3s v1.35, through which the way from {NEXT} to {THIRD} leads" in done.stderr
    assert "E-UPGRADE-MISSING" in done.stderr


def test_a_bundle_that_was_not_sent_ahead_is_refused_with_the_command(company: Company) -> None:
    late = company.bring(10, {"v1.35.2+k3s1": {}})
    done = company.appliance.attempt("upgrade", late, "site-2")
    assert (done.returncode, "E-UPGRADE-UNSTAGED" in done.stderr) == (5, True)
    assert f"edgemgr stage {late} site-2 --wait" in " ".join(done.stderr.split())
    assert company.appliance.operation("site-2")["state"] == "succeeded", "nothing was queued"


def test_a_change_of_the_configuration_alone_takes_the_same_road(
    company: Company, bundle: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = tmp_path_factory.mktemp("config") / "config.yaml"
    config.write_text("node-label:\n  - tier=gold\n")
    company.upgrade(bundle, "site-2", "--version", NEXT, "--config", str(config))
    assert "tier=gold" in company.node("site-2", "cat", "/etc/rancher/k3s/config.yaml")
    node = json.loads(company.node("site-2", "k3s", "kubectl", "get", "nodes", "-o", "json"))["items"][0]
    assert node["metadata"]["labels"]["tier"] == "gold"


def test_after_an_upgrade_a_bootstrap_of_that_version_finds_nothing_to_do(company: Company) -> None:
    company.appliance.run("bootstrap", "site-1", "--version", THIRD, "--wait", "--timeout", "3m", timeout_s=300)
    assert company.runs("site-1") == THIRD


def test_a_reset_removes_what_upgrades_have_left(company: Company) -> None:
    company.appliance.run("reset", "site-1", "--yes", "--wait", "--timeout", "3m", timeout_s=300)
    places = "/var/lib/edgemgr /usr/local/lib /etc/systemd /var/lib/rancher /etc/rancher"
    # edgemgr-lab-host.service is the simulated machine's own
    ours = r"\( -name '*edgemgr-*' -o -name upgrade -o -name activation.pyz \) ! -name edgemgr-lab-host.service"
    found = company.lab.run("site-1", ["sh", "-c", f"find {places} {ours}"])
    assert found.stdout == ""
