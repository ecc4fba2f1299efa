"""The lab for real: namespaces, mounts, containers and sshd on this machine."""

from __future__ import annotations

import csv
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from edgemgr.errors import LabError
from edgemgr.lab import cgroups, network, processes, record
from edgemgr.lab.lab import Lab
from edgemgr.lab.simulated_site import Flavour, LinkState, SimulatedSite, SiteState
from edgemgr.settings import Settings, program_environment

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]

# Two runs of the tests at the same time, on one machine, should not meet.
SUBNET, OTHER_SUBNET = (f"10.{221 + os.getpid() % 30}.{half}.0/17" for half in (0, 128))
FULL, LIGHT = "site-1", "site-2"
UNIT = """\
[Service]
ExecStart=/bin/sleep infinity
Restart=always
[Install]
WantedBy=multi-user.target
"""


def base() -> Path:
    """The tree of the default lab: built once a machine."""
    return Settings().lab_dir / "base"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"), subnet=SUBNET, base=base())
    try:
        lab.up(1)
        lab.up(2, light=True)
        yield lab
    finally:
        lab.down(purge=True)


@pytest.fixture
def lone_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab of the test's own, without sites."""
    lab = Lab(tmp_path / "lone", subnet=OTHER_SUBNET, base=base())
    yield lab
    lab.down(purge=True)


def traces(lab: Lab) -> list[str]:
    """Everything on this machine that the lab's sites have made outside its folder."""
    prefix = network.site_network(lab.directory, lab.subnet, 1).namespace.partition("-")[0]
    places = [network.NAMESPACES, network.INTERFACES, *cgroups.ROOT.glob("*")]
    found = [str(path) for place in places if place.is_dir() for path in place.glob(f"{prefix}*")]
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f"upperdir={lab.directory}/" in mounts.read_text():
                found.append(str(mounts))
        except OSError:
            continue
    return found


def log_in(site: SimulatedSite) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    key = paramiko.hostkeys.HostKeyEntry.from_line(f"{site.address} {site.host_key}")
    assert key is not None
    assert key.key is not None
    client.get_host_keys().add(site.address, key.key.get_name(), key.key)
    client.connect(
        site.address,
        site.port,
        site.user,
        site.password,
        allow_agent=False,
        look_for_keys=False,
        timeout=20,
        banner_timeout=20,
    )
    return client


def over_ssh(client: paramiko.SSHClient, command: str) -> str:
    return client.exec_command(command, timeout=30)[1].read().decode().strip()


def inside(lab: Lab, name: str, script: str) -> str:
    return lab.run(name, ["sh", "-c", script]).stdout.strip()


def is_silent(site: SimulatedSite) -> bool:
    """Whether a connection is neither accepted nor refused: packets vanish."""
    try:
        socket.create_connection((site.address, site.port), timeout=0.5).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.parametrize("name", [FULL, LIGHT])
def test_a_site_lets_its_user_in_by_password_behind_the_host_key_that_the_csv_names(lab: Lab, name: str):
    site = lab.site(name)
    with log_in(site) as client:
        assert over_ssh(client, "hostname; sudo -n id -u").split() == [name, "0"]
        assert client.get_transport().get_remote_server_key().fingerprint == site.host_key_fingerprint
    rows = {row["name"]: row for row in csv.DictReader(lab.csv_path.read_text().splitlines())}
    assert rows[name]["host_key"] == site.host_key_fingerprint
    assert rows[name]["password"] == site.password
    assert stat.S_IMODE(lab.csv_path.stat().st_mode) == 0o600


def test_sites_share_no_identity(lab: Lab):
    sites = [lab.site(name) for name in (FULL, LIGHT)]
    ids = [inside(lab, name, "cat /etc/machine-id") for name in (FULL, LIGHT)]
    for values in ([s.host_key for s in sites], [s.password for s in sites], [s.address for s in sites], ids):
        assert len(set(values)) == 2


def test_the_full_flavour_runs_real_systemd_and_may_write_its_control_groups(lab: Lab):
    assert inside(lab, FULL, "cat /proc/1/comm") == "systemd"
    assert inside(lab, FULL, "systemctl is-system-running --wait") == "running"
    script = "for d in /sys/fs/cgroup/memory /sys/fs/cgroup; do mkdir $d/x 2>/dev/null && rmdir $d/x && echo fine; done"
    assert "fine" in inside(lab, FULL, script)
    assert inside(lab, FULL, "cat /proc/sys/net/ipv4/ip_forward") == "1"


def test_the_light_flavour_has_no_systemd_but_programs_believe_so(lab: Lab):
    assert inside(lab, LIGHT, "cat /proc/1/comm") == "sshd"
    assert inside(lab, LIGHT, "test -d /run/systemd/system && systemctl is-system-running") == "running"
    assert "stand-in" in inside(lab, LIGHT, "systemctl --version")


@pytest.mark.parametrize("name", [FULL, LIGHT])
def test_the_data_folder_is_no_overlay_and_all_routes_lead_over_the_link(lab: Lab, name: str):
    assert inside(lab, name, "stat -f -c %T /") == "overlayfs"
    assert inside(lab, name, "stat -f -c %T /var/lib/rancher") != "overlayfs"
    assert inside(lab, name, "ip route show default") == f"default via {lab.site(name).gateway} dev eth0"


def test_a_second_up_leaves_running_sites_alone_and_is_quick(lab: Lab):
    before = lab.list()
    began = time.monotonic()
    lab.up(2)
    assert time.monotonic() - began < 2
    assert lab.list() == before


def test_a_cut_link_is_silent_and_connections_live_on_when_it_is_restored(lab: Lab):
    site = lab.site(LIGHT)
    with log_in(site) as client:
        lab.cut(LIGHT)
        assert lab.site(LIGHT).link is LinkState.CUT
        assert is_silent(site)
        assert not is_silent(lab.site(FULL))
        lab.restore(LIGHT)
        assert not is_silent(site)
        assert over_ssh(client, "echo still there") == "still there"
    assert lab.site(LIGHT).link is LinkState.GOOD


def test_a_degraded_link_is_late_both_ways_until_it_is_restored(lab: Lab):
    site = lab.site(FULL)

    def connect_s() -> float:
        began = time.monotonic()
        socket.create_connection((site.address, site.port), timeout=10).close()
        return time.monotonic() - began

    lab.degrade(FULL, delay_ms=100, loss_percent=0, rate_mbit=2)
    relay = lab.site(FULL).relay
    assert processes.is_alive(relay)
    assert 0.2 <= connect_s() < 2
    with log_in(site) as client:
        began = time.monotonic()
        assert len(over_ssh(client, "head -c 500000 /dev/zero | tr '\\0' x")) == 500_000
        assert time.monotonic() - began >= 500_000 * 8 / 2e6
    lab.restore(FULL)
    assert not processes.is_alive(relay)
    assert connect_s() < 0.2


@pytest.mark.parametrize("values", [(-1, 0, 1), (0, 101, 1), (0, 0, 0)])
def test_a_link_that_cannot_be_is_refused_and_nothing_changes(lab: Lab, values: tuple[int, int, int]):
    with pytest.raises(LabError) as refused:
        lab.degrade(FULL, delay_ms=values[0], loss_percent=values[1], rate_mbit=values[2])
    assert refused.value.code == "E-LAB-LINK"
    assert lab.site(FULL).link is LinkState.GOOD


@pytest.mark.parametrize("name", [FULL, LIGHT])
def test_after_a_power_cut_a_site_is_silent_and_boots_again_with_what_it_had_written(lab: Lab, name: str):
    lab.run(name, ["sh", "-c", "cat >/etc/systemd/system/kept.service"], input_text=UNIT)
    assert lab.run(name, ["systemctl", "daemon-reload"]).returncode == 0
    assert lab.run(name, ["systemctl", "enable", "--now", "kept"]).returncode == 0
    lab.run(name, ["touch", "/var/lib/rancher/kept"])
    before = lab.site(name)
    lab.power_cut(name)
    assert lab.site(name).state is SiteState.OFF
    assert is_silent(before)
    with pytest.raises(LabError) as refused:
        lab.run(name, ["true"])
    assert refused.value.code == "E-LAB-OFF"
    lab.restore(name)
    after = lab.site(name)
    assert (after.state, after.link, after.host_key) == (SiteState.RUNNING, LinkState.GOOD, before.host_key)
    assert lab.run(name, ["test", "-e", "/var/lib/rancher/kept"]).returncode == 0
    script = (
        "for i in $(seq 50); do systemctl is-active --quiet kept && break; sleep 0.1; done; systemctl is-active kept"
    )
    assert inside(lab, name, script) == "active"


@pytest.mark.parametrize("name", [FULL, LIGHT])
def test_a_reboot_ends_every_process_and_the_site_answers_again(lab: Lab, name: str):
    lab.run(name, ["sh", "-c", "setsid sleep 4711 >/dev/null 2>&1 &"])
    assert inside(lab, name, "pgrep -cf '^sleep 4711'") == "1"
    lab.reboot(name)
    assert inside(lab, name, "pgrep -cf '^sleep 4711'") == "0"
    assert not is_silent(lab.site(name))


def test_no_command_is_run_in_this_machine_s_tree_while_a_site_boots(lab: Lab):
    lab.cut(LIGHT)
    lab.reboot(LIGHT)  # nobody waits for a site that cannot answer
    try:
        found = ""
        deadline = time.monotonic() + 30
        while not found and time.monotonic() < deadline:
            with suppress(LabError):
                found = lab.run(LIGHT, ["cat", "/etc/hostname"]).stdout
        assert found.strip() == LIGHT
    finally:
        lab.restore(LIGHT)


def test_another_lab_on_the_same_addresses_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path):
    other = Lab(tmp_path / "other", subnet=SUBNET, base=base())
    with pytest.raises(LabError) as refused:
        other.up(1)
    assert refused.value.code == "E-LAB-SUBNET"
    assert other.list() == []
    assert traces(other) == []


def test_a_limited_disk_gets_full(lone_lab: Lab):
    lone_lab.up(1, light=True, disk_mib=100)
    assert int(inside(lone_lab, "site-1", "df -m --output=size /var/lib/rancher | tail -1")) < 100
    full = lone_lab.run("site-1", ["dd", "if=/dev/zero", "of=/var/lib/rancher/big", "bs=1M", "count=200"])
    assert full.returncode == 1
    assert "No space left on device" in full.stderr


def test_down_leaves_nothing_and_may_be_repeated(lone_lab: Lab):
    lone_lab.up(1)
    lone_lab.up(2, light=True)
    assert traces(lone_lab)
    lone_lab.down("site-1")
    assert [site.name for site in lone_lab.list()] == ["site-2"]
    assert [row["name"] for row in csv.DictReader(lone_lab.csv_path.read_text().splitlines())] == ["site-2"]
    for _ in range(2):
        lone_lab.down()
        assert traces(lone_lab) == []
        assert lone_lab.list() == []


@pytest.mark.parametrize("flavour", list(Flavour))
def test_down_finds_the_processes_of_a_site_whose_start_was_not_recorded(lone_lab: Lab, flavour: Flavour):
    lone_lab.up(1, light=flavour is Flavour.LIGHT)
    started = lone_lab.site("site-1")
    forgotten = replace(started, process=None)
    record.write_sites(lone_lab.directory / "lab.json", {"site-1": forgotten})
    lone_lab.down()
    assert traces(lone_lab) == []
    assert not processes.is_alive(started.process)


def test_up_boots_a_site_whose_processes_died_and_whose_network_went(lone_lab: Lab):
    (site,) = lone_lab.up(1, light=True)
    net = network.site_network(lone_lab.directory, lone_lab.subnet, 1)
    assert site.process is not None
    processes.kill(site.process)
    network.delete_network(net)
    assert lone_lab.site("site-1").state is SiteState.OFF
    (again,) = lone_lab.up(1)
    assert again.host_key == site.host_key
    assert not is_silent(again)


@pytest.mark.parametrize("moment", ["sites made: 1 of", "sites booted: 1 of"])
def test_an_interrupted_up_leaves_nothing_half(lone_lab: Lab, moment: str):
    script = "import sys; from edgemgr.cli.main import main; sys.exit(main())"
    arguments = ["lab", "up", "--sites", "6", "--dir", str(lone_lab.directory), "--subnet", OTHER_SUBNET]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments, "--base", str(lone_lab.base)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=program_environment(),
    ) as up:
        assert up.stderr is not None
        told = next(line for line in up.stderr if line.startswith(moment))
        assert told
        up.send_signal(signal.SIGINT)
        up.stderr.read()
        assert up.wait(60) != 0
    assert lone_lab.list() == []
    assert traces(lone_lab) == []


def test_fifty_light_sites_come_up_together(lone_lab: Lab):
    sites = lone_lab.up(50, light=True)
    assert all(site.state is SiteState.RUNNING for site in sites)
    assert not any(is_silent(site) for site in sites)
    lone_lab.down()
    assert traces(lone_lab) == []
