"""The main story: a CSV of sites becomes running clusters that can be seen."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest
from acceptance_stories import VERSION, import_sites
from testinfra.host import Host
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]
SITES = ("site-1", "site-2", "site-3")


@pytest.fixture(scope="module")
def clusters(lab: Lab, appliance: Appliance) -> Appliance:
    """Three bare sites, imported and bootstrapped through the installed commands."""
    lab.up(3)
    import_sites(appliance, lab)
    appliance.serve()
    appliance.run("bootstrap", "--all", "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    return appliance


def test_three_bare_sites_become_three_healthy_clusters(clusters: Appliance) -> None:
    found = {site["name"]: site for site in clusters.items("site", "list")}
    assert set(found) == set(SITES)
    for site in found.values():
        assert (site["health"], site["reachability"], site["update"]) == ("healthy", "reachable", "up_to_date")
        assert site["k3s_version"] == VERSION


@pytest.mark.parametrize("name", SITES)
def test_on_the_site_k3s_runs_as_edgemgr_says(clusters: Appliance, look: Callable[[str], Host], name: str) -> None:
    host = look(name)
    assert host.service("k3s").is_running
    assert host.service("k3s").is_enabled
    assert host.file("/usr/local/bin/k3s").is_symlink
    assert host.file("/etc/rancher/k3s/k3s.yaml").mode == 0o600
    assert host.check_output("k3s --version").startswith(f"k3s version {VERSION}")
    nodes = json.loads(host.check_output("k3s kubectl get nodes -o json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == [name]
    archives = host.file("/var/lib/rancher/k3s/agent/images").listdir()
    assert len([archive for archive in archives if archive.startswith("edgemgr-")]) == 1


def test_the_api_of_k3s_is_reached_through_ssh(clusters: Appliance) -> None:
    pods = json.loads(clusters.run("kubectl", "site-1", "--", "get", "pods", "-A", "-o", "json"))["items"]
    assert pods
    assert {pod["status"]["phase"] for pod in pods} <= {"Running", "Succeeded"}


def test_the_first_password_is_gone_and_a_key_of_the_sites_own_opens_it(
    clusters: Appliance, lab: Lab, look: Callable[[str], Host]
) -> None:
    keys = set()
    for name in SITES:
        public = clusters.run("site", "key", name).split()[-2]
        assert public in look(name).file(f"/home/{lab.site(name).user}/.ssh/authorized_keys").content_string
        keys.add(public)
    assert len(keys) == len(SITES)
    database = (clusters.directory / "state" / "edgemgr.db").read_bytes()
    for name in SITES:
        assert lab.site(name).password.encode() not in database


def test_a_second_bootstrap_changes_nothing(clusters: Appliance, look: Callable[[str], Host]) -> None:
    before = look("site-1").check_output("systemctl show -p MainPID,ExecMainStartTimestampMonotonic k3s")
    clusters.run("bootstrap", "site-1", "--version", VERSION, "--wait", timeout_s=200)
    number = clusters.operation("site-1")["id"]
    (attempt,) = json.loads(clusters.run("operation", "show", str(number), "-o", "json"))["attempts"]
    assert (attempt["outcome"], attempt["changed"]) == ("succeeded", False)
    assert look("site-1").check_output("systemctl show -p MainPID,ExecMainStartTimestampMonotonic k3s") == before


def test_a_probe_reads_node_version_and_pods_through_the_api(clusters: Appliance) -> None:
    before = clusters.site("site-2")["observed_at"]
    clusters.run("probe", "site-2", "--wait", timeout_s=120)
    after = clusters.site("site-2")
    assert after["observed_at"] > before
    assert (after["health"], after["k3s_version"]) == ("healthy", VERSION)


def test_the_log_of_an_attempt_names_what_was_done(clusters: Appliance) -> None:
    number = clusters.operation("site-3")["id"]
    log = clusters.run("operation", "logs", str(number))
    assert "bootstrap: " in log
    positions = [log.find(f" s  {step}") for step in ("preflight", "send", "place", "start", "verify")]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert "succeeded" in log


def test_the_console_shows_the_sites(clusters: Appliance) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{clusters.port}/sites", timeout=20) as answer:
        page = answer.read().decode()
    assert all(name in page for name in SITES)
    assert VERSION in page


def test_a_reset_leaves_a_bare_host_that_can_be_bootstrapped_again(
    clusters: Appliance, look: Callable[[str], Host]
) -> None:
    clusters.run("reset", "site-3", "--yes", "--wait", timeout_s=200)
    host = look("site-3")
    for path in ("/usr/local/bin/k3s", "/var/lib/rancher/k3s", "/etc/rancher", "/etc/systemd/system/k3s.service"):
        assert not host.file(path).exists, path
    assert clusters.site("site-3")["k3s_version"] is None
    clusters.run("bootstrap", "site-3", "--version", VERSION, "--wait", timeout_s=300)
    assert clusters.site("site-3")["health"] == "healthy"
