"""The playbooks against a real systemd, a real sshd and the stand-in for k3s."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_playbooks import SitePlaybooks, release_artifacts

from edgemgr.lab.lab import Lab
from edgemgr.lab.release_files import write_standin_release
from edgemgr.settings import Settings

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="simulated sites need root")]

VERSION = "v1.33.5+k3s1"
OLD = "v1.20.8+k3s1"
SITE = "site-1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(
        tmp_path_factory.mktemp("lab"),
        subnet=f"10.211.{os.getpid() % 250}.0/24",
        base=Settings().lab_dir / "base",
    )
    try:
        lab.up(1)
        yield lab
    finally:
        lab.down(purge=True)


@pytest.fixture(scope="module")
def playbooks(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SitePlaybooks]:
    playbooks = SitePlaybooks(lab, SITE, tmp_path_factory.mktemp("playbooks"))
    yield playbooks
    playbooks.close()


@pytest.fixture
def site(playbooks: SitePlaybooks) -> Iterator[SitePlaybooks]:
    """The site, with nothing of k3s on it afterwards."""
    yield playbooks
    playbooks.lab.restore(SITE)
    (*_, last) = playbooks.play("reset")
    assert last.event == "runner_on_ok", last


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("releases")
    write_standin_release(directory / VERSION, VERSION)
    write_standin_release(directory / OLD, OLD)
    write_standin_release(directory / "big" / VERSION, VERSION, images_mib=48)
    write_standin_release(directory / "crash" / VERSION, VERSION, faults={"crash": 1})
    write_standin_release(directory / "never_ready" / VERSION, VERSION, faults={"never_ready": 1})
    write_standin_release(directory / "slow" / VERSION, VERSION, faults={"start_delay_s": 25})
    return directory


def bootstrap_variables(releases: Path, version: str = VERSION, kind: str = "") -> dict[str, Any]:
    return {"edge_k3s_version": version, "edge_artifacts": release_artifacts(releases / kind / version)}


def steps(task: Any) -> list[str]:
    return [each["step"] for each in task.result["edge_steps"]]


def roles(tasks: list[Any]) -> list[tuple[str, str]]:
    return [(each.event, each.role.rpartition(".")[2]) for each in tasks]


ALL_OK = [("runner_on_ok", "bootstrap")]


@pytest.mark.parametrize("version", [VERSION, OLD])
def test_an_empty_site_ends_healthy_a_second_run_changes_nothing_and_a_reset_leaves_nothing(
    site: SitePlaybooks, releases: Path, version: str
) -> None:
    before = site.snapshot()
    variables = bootstrap_variables(releases, version) | {"edge_order_key": "ssh-ed25519 AAAA edgemgr-appliance"}
    first = site.play("bootstrap", **variables)
    assert roles(first) == ALL_OK
    assert steps(first[0]) == ["preflight", "send", "preflight", "place", "start", "verify"]
    observation = first[-1].result["edge_observation"]
    assert observation["health"] == "healthy"
    assert observation["k3s_version"] == observation["kubelet_version"] == version
    assert observation["node_name"] == SITE
    assert observation["pods_ready"] == observation["pods_total"] > 0
    assert site.shell("k3s kubectl get nodes -o name").strip() == f"node/{SITE}"
    assert site.shell("stat -c %a /etc/rancher/k3s/config.yaml /etc/rancher/k3s/k3s.yaml").split() == ["600", "600"]
    assert site.shell("systemctl is-enabled k3s").strip() == "enabled"
    assert site.shell("cat /var/lib/edgemgr/appliance-keys.pub") == "ssh-ed25519 AAAA edgemgr-appliance\n"
    # What a stick leaves behind (links/stick_stage.py).
    site.shell("cd /var/lib/edgemgr; mkdir receipts; touch receipts/a.receipt newest-order.json")

    again = site.play("bootstrap", **variables)
    assert roles(again) == ALL_OK
    assert steps(again[0]) == ["preflight", "place", "verify"]
    assert again[0].result["changed"] is False
    verified = site.play("verify", edge_k3s_version=version)
    assert verified[-1].result["edge_observation"]["cluster_id"] == observation["cluster_id"]

    reset = site.play("reset")
    assert reset[-1].result["changed"] is True
    assert site.shell("ps -eo args | grep -c '[c]ontainerd-shim' || true").strip() == "0"
    left = set(site.snapshot().splitlines()) - set(before.splitlines())
    assert {line.split()[0] for line in left} <= {"/var/lib/edgemgr/fence.json"}
    assert site.play("reset")[-1].result["changed"] is False


def test_a_reset_ends_containers_with_all_their_processes_and_unmounts_what_is_left(
    site: SitePlaybooks, releases: Path
) -> None:
    site.play("bootstrap", **bootstrap_variables(releases))
    site.shell(
        "shim=/var/lib/rancher/k3s/data/aaaa/bin/containerd-shim-runc-v2; mkdir -p ${shim%/*}; cp /bin/dash $shim; "
        "systemd-run -q --unit=pod -p KillMode=process $shim -c 'setsid sleep 98765 & setsid sleep 98764; :'; "
        "mkdir -p /var/lib/kubelet/pods/1/volumes; mount -t tmpfs tmpfs /var/lib/kubelet/pods/1/volumes; "
        "for i in $(seq 50); do pgrep -f 'sleep 98764' >/dev/null && break; sleep 0.1; done"
    )
    assert len(site.shell("pgrep -x -f 'sleep 9876[45]'").split()) == 2
    site.play("reset")
    assert site.shell("pgrep -x -f 'sleep 9876[45]' || true") == ""
    assert "/var/lib/kubelet" not in site.shell("cat /proc/self/mounts")
    assert site.shell("ls -A /var/lib/rancher; ls -d /var/lib/kubelet 2>/dev/null || true") == ""


def test_check_mode_on_an_empty_site_tells_everything_and_changes_nothing(site: SitePlaybooks, releases: Path) -> None:
    before = site.snapshot()
    (task,) = site.play("bootstrap", check=True, **bootstrap_variables(releases))
    assert roles([task]) == ALL_OK
    changes = task.result["edge_changes"]
    assert [each.split()[0] for each in changes[:2]] == ["send", "send"]
    assert changes[-1] == "start k3s"
    assert task.result["edge_observation"]["health"] == "failing"
    assert site.snapshot() == before


def test_a_change_of_the_profile_is_shown_then_made_then_settled(site: SitePlaybooks, releases: Path) -> None:
    variables = bootstrap_variables(releases)
    site.play("bootstrap", **variables)
    changed = {**variables, "edge_k3s_config": {"disable": ["traefik"], "node-label": ["note={{ 1/0 }}"]}}
    (would,) = site.play("bootstrap", check=True, **changed)
    assert 'disable:\n  - "traefik"' in would.result["diff"][0]["after"]
    (did,) = site.play("bootstrap", **changed)
    assert did.result["edge_changes"] == would.result["edge_changes"]
    assert steps(did) == ["preflight", "place", "restart", "verify"]
    assert "note={{ 1/0 }}" in site.shell("cat /etc/rancher/k3s/config.yaml")
    assert did.result["edge_observation"]["health"] == "healthy"
    assert not any(task.result["changed"] for task in site.play("bootstrap", **changed))


SLOW_CLOCK = """\
#!/bin/sh
exec /usr/bin/off -c '
import sys, time
now = time.time
time.time = lambda: now() - 3600
exec(compile(sys.stdin.read(), "stdin", "exec"))
'
"""
BREAK_AND_MEND = {
    "no-python": ("E-PRE-PYTHON", "mv /usr/bin/python3 /usr/bin/off", "mv /usr/bin/off /usr/bin/python3"),
    "no-sudo": ("E-PRE-SUDO", "mv /usr/bin/sudo /usr/bin/off", "mv /usr/bin/off /usr/bin/sudo"),
    "foreign-k3s": ("E-PRE-FOREIGN", "echo k3s >/usr/local/bin/k3s", "rm /usr/local/bin/k3s"),
    "foreign-service": (
        "E-PRE-FOREIGN",
        "echo '[Service]' >/etc/systemd/system/k3s.service",
        "rm /etc/systemd/system/k3s.service",
    ),
    "no-route": (
        "E-PRE-ROUTE",
        "ip route show default >/run/route; ip route del default",
        "ip route add $(cat /run/route)",
    ),
    "port-taken": (
        "E-PRE-PORTS",
        (
            "systemd-run -q --unit=taker python3 -m http.server 6443; "
            "for i in $(seq 50); do ss -ltn | grep -q :6443 && break; sleep 0.1; done"
        ),
        "systemctl stop taker",
    ),
    "full-disk": (
        "E-PRE-DISK",
        "mount -t tmpfs -o size=64m tmpfs /var/lib/rancher",
        "umount /var/lib/rancher",
    ),
}


@pytest.mark.parametrize(("code", "harm", "mend"), BREAK_AND_MEND.values(), ids=list(BREAK_AND_MEND))
def test_a_site_that_cannot_be_bootstrapped_is_refused_and_left_as_it_is(
    site: SitePlaybooks, releases: Path, code: str, harm: str, mend: str
) -> None:
    site.shell(harm)
    try:
        before = site.snapshot()
        tasks = site.play("bootstrap", **bootstrap_variables(releases))
        assert roles(tasks) == [("runner_on_failed", "bootstrap")]
        assert [each["code"] for each in tasks[0].result["edge_refusals"]] == [code]
        assert tasks[0].result["edge_hint"]
        assert tasks[0].result["changed"] is False
        assert site.snapshot() == before
    finally:
        site.shell(mend)


def test_a_clock_that_is_off_by_more_than_allowed_is_refused(site: SitePlaybooks, releases: Path) -> None:
    # A container's clock cannot be set; that of the program that reads it can.
    site.shell("mv /usr/bin/python3 /usr/bin/off; cat >/usr/bin/python3; chmod 755 /usr/bin/python3", SLOW_CLOCK)
    try:
        (task,) = site.play("bootstrap", **bootstrap_variables(releases))
        assert task.code == "E-PRE-CLOCK"
        assert re.search(r"at least 3[0-9]{3} s behind", task.result["msg"])
    finally:
        site.shell("mv /usr/bin/off /usr/bin/python3")


def test_another_version_is_refused_on_a_running_site(site: SitePlaybooks, releases: Path) -> None:
    site.play("bootstrap", **bootstrap_variables(releases))
    before = site.shell("systemctl show k3s -p MainPID; cat /var/lib/edgemgr/installed.json")
    (task,) = site.play("bootstrap", **bootstrap_variables(releases, OLD))
    assert task.code == "E-PRE-DOWNGRADE"
    assert site.shell("systemctl show k3s -p MainPID; cat /var/lib/edgemgr/installed.json") == before


def test_an_option_that_the_version_does_not_know_is_named(site: SitePlaybooks, releases: Path) -> None:
    variables = {**bootstrap_variables(releases, OLD), "edge_k3s_config": {"embedded-registry": True}}
    (last,) = site.play("bootstrap", **variables)
    assert last.code == "E-K3S-OPTION"
    assert last.result["changed"] is True
    assert "'embedded-registry'" in last.result["msg"]
    assert last.result["edge_retry"] == "never"
    del variables["edge_k3s_config"]
    assert roles(site.play("bootstrap", **variables)) == ALL_OK


def test_a_k3s_that_crashes_is_reported_with_its_log(site: SitePlaybooks, releases: Path) -> None:
    (last,) = site.play("bootstrap", **bootstrap_variables(releases, kind="crash"))
    assert last.code in ("E-K3S-CRASH", "E-VERIFY-SERVICE")
    assert last.result["edge_log"]


def test_a_node_that_never_gets_ready_fails_with_an_observation(site: SitePlaybooks, releases: Path) -> None:
    variables = {**bootstrap_variables(releases, kind="never_ready"), "edge_verify_timeout_s": 8}
    (*_, last) = site.play("bootstrap", **variables)
    assert last.code == "E-VERIFY-NODE"
    assert last.result["edge_observation"]["health"] == "failing"
    assert last.result["edge_observation"]["k3s_version"] == VERSION


def test_verify_of_an_empty_site_says_that_k3s_is_not_there(site: SitePlaybooks) -> None:
    (task,) = site.play("verify")
    assert task.code == "E-VERIFY-ABSENT"


def test_a_superseded_attempt_is_turned_away(site: SitePlaybooks, releases: Path) -> None:
    site.play("bootstrap", **bootstrap_variables(releases))
    (task,) = site.play("bootstrap", edge_attempt=1, **bootstrap_variables(releases))
    assert task.code == "E-FENCE-STALE"


def test_a_survivor_of_an_older_attempt_is_not_disturbed(site: SitePlaybooks, releases: Path) -> None:
    site.shell(
        "umask 077; : >>/run/lock/edgemgr.lock; systemd-run -q --unit=survivor flock /run/lock/edgemgr.lock sleep 60"
    )
    try:
        (task,) = site.play("bootstrap", edge_fence_wait_s=1, **bootstrap_variables(releases))
        assert task.code == "E-FENCE-BUSY"
        assert task.result["edge_retry"] == "budgeted"
        assert "edge_refusals" not in task.result
    finally:
        site.shell("systemctl stop survivor")


def test_a_link_cut_while_files_travel_costs_only_what_had_not_come(site: SitePlaybooks, releases: Path) -> None:
    variables = bootstrap_variables(releases, kind="big")
    total = sum(each["size_bytes"] for each in variables["edge_artifacts"])
    site.lab.degrade(SITE, delay_ms=5, loss_percent=0, rate_mbit=60)
    process = site.start("bootstrap", **variables)
    came = "du -sb /var/lib/edgemgr/cache 2>/dev/null | cut -f1 || true"
    deadline = time.monotonic() + 60
    while int(site.shell(came).strip() or 0) < 16 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    site.lab.cut(SITE)
    output, _ = process.communicate(timeout=120)
    assert '"runner_on_unreachable"' in output.splitlines()[-1]

    site.lab.restore(SITE)
    tasks = site.play("bootstrap", **variables)
    assert roles(tasks) == ALL_OK
    assert 0 < tasks[0].result["edge_sent_bytes"] <= total - (12 << 20)


def test_a_link_cut_while_k3s_starts_is_unreachable_and_the_next_attempt_waits_for_the_survivor(
    site: SitePlaybooks, releases: Path
) -> None:
    variables = bootstrap_variables(releases, kind="slow")
    process = site.start("bootstrap", **variables)
    deadline = time.monotonic() + 60
    while site.shell("systemctl show k3s -p ActiveState --value").strip() != "activating":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    site.lab.cut(SITE)
    output, _ = process.communicate(timeout=60)
    assert '"runner_on_unreachable"' in output.splitlines()[-1]
    survivor = json.loads(site.shell("cat /run/lock/edgemgr.lock"))
    assert site.shell(f"cat /proc/{survivor['pid']}/comm").startswith("python3")

    site.lab.restore(SITE)
    (task,) = site.play("bootstrap", **variables)
    assert roles([task]) == ALL_OK
    assert task.result["edge_changes"] == []  # the survivor had done it all, and k3s was started once
    assert site.shell("systemctl show k3s -p NRestarts --value").strip() == "0"


@pytest.mark.parametrize("delay_s", [1.5, 3.0, 4.5])
def test_killed_at_both_ends_at_any_time_the_next_attempt_converges(
    site: SitePlaybooks, releases: Path, delay_s: float
) -> None:
    variables = bootstrap_variables(releases)
    process = site.start("bootstrap", **variables)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    # Modules are run by a bare `python3` that reads them from standard input.
    site.shell("for p in $(pgrep -x -f /usr/bin/python3); do kill -KILL $p; done")
    assert roles(site.play("bootstrap", **variables)) == ALL_OK
    assert not any(task.result["changed"] for task in site.play("bootstrap", **variables))


def test_a_power_cut_in_the_middle_is_survived(site: SitePlaybooks, releases: Path) -> None:
    variables = bootstrap_variables(releases)
    process = site.start("bootstrap", **variables)
    time.sleep(3.5)
    site.lab.power_cut(SITE)
    process.communicate(timeout=120)
    site.lab.restore(SITE)
    assert roles(site.play("bootstrap", **variables)) == ALL_OK
    site.lab.reboot(SITE)
    assert site.play("verify", edge_k3s_version=VERSION)[-1].event == "runner_on_ok"
