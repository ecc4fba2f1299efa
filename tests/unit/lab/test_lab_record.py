"""What the lab remembers, whom it may signal, and what it hands out."""

from __future__ import annotations

import csv
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edgemgr.errors import LabError, NotFoundError
from edgemgr.lab import processes, programs, record
from edgemgr.lab.lab import Lab
from edgemgr.lab.processes import ProcessIdentity
from edgemgr.lab.simulated_site import Flavour, LinkState, SimulatedSite, SiteState
from edgemgr.lab.site_files import fingerprint
from edgemgr.lab.sites_csv import COLUMNS, PLACES, sites_csv

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
FINGERPRINT = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def site(number: int = 1) -> SimulatedSite:
    return SimulatedSite(
        name=f"site-{number}",
        number=number,
        flavour=Flavour.LIGHT,
        address=f"10.9.0.{number}",
        gateway="10.9.0.254",
        port=22,
        user="edge",
        password='pass,"word',
        host_key=KEY,
        host_key_fingerprint=FINGERPRINT,
    )


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def test_the_fingerprint_is_the_one_that_ssh_keygen_shows():
    assert fingerprint(KEY) == FINGERPRINT


def test_a_site_read_again_is_the_same_and_off_when_its_process_is_gone(tmp_path: Path):
    kept = replace(site(), process=ProcessIdentity(2**22, 1, "no-boot"), state=SiteState.RUNNING)
    record.write_sites(tmp_path / "lab.json", {kept.name: kept})
    assert record.read_sites(tmp_path / "lab.json") == {"site-1": replace(kept, state=SiteState.OFF)}


def test_a_site_runs_while_exactly_its_process_does(tmp_path: Path, sleeper: subprocess.Popen[bytes]):
    mine = processes.identify(sleeper.pid)
    record.write_sites(tmp_path / "lab.json", {"site-1": replace(site(), process=mine)})
    assert record.read_sites(tmp_path / "lab.json")["site-1"].state is SiteState.RUNNING


def test_a_degraded_link_whose_relay_has_ended_is_good_again(tmp_path: Path):
    degraded = replace(site(), link=LinkState.DEGRADED, relay=ProcessIdentity(2**22, 1, "no-boot"))
    record.write_sites(tmp_path / "lab.json", {"site-1": degraded})
    assert record.read_sites(tmp_path / "lab.json")["site-1"].link is LinkState.GOOD


def test_a_damaged_record_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "lab.json").write_text('[{"name": "site-1"')
    with pytest.raises(LabError) as refused:
        record.read_sites(tmp_path / "lab.json")
    assert refused.value.code == "E-LAB-RECORD"
    assert "ip netns pids" in refused.value.hint


def test_a_reused_pid_is_never_signalled(sleeper: subprocess.Popen[bytes]):
    mine = processes.identify(sleeper.pid)
    assert mine is not None
    for stranger in (
        replace(mine, started_ticks=mine.started_ticks - 1),
        replace(mine, boot_id="another boot"),
    ):
        assert not processes.is_alive(stranger)
        assert processes.kill(stranger)
    assert sleeper.poll() is None


def test_a_process_is_killed_and_its_end_awaited(sleeper: subprocess.Popen[bytes]):
    mine = processes.identify(sleeper.pid)
    assert mine is not None
    assert processes.kill(mine)
    assert not processes.is_alive(mine)


def test_a_started_process_writes_its_log_and_sees_only_allowed_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "s")
    started = processes.start(["/usr/bin/env"], log=tmp_path / "log", variables={"GIVEN": "yes"})
    os.waitpid(started.pid, 0)
    told = (tmp_path / "log").read_text()
    assert "GIVEN=yes" in told
    assert "SECRET_OF_THE_CALLER" not in told


def test_the_lock_is_waited_for_and_then_refused(tmp_path: Path):
    with record.exclusive(tmp_path / "lock", within_s=1), pytest.raises(LabError) as refused:  # noqa: SIM117
        with record.exclusive(tmp_path / "lock", within_s=0):
            pass
    assert refused.value.code == "E-LAB-BUSY"


def test_the_csv_keeps_every_value_and_zones_that_exist():
    rows = list(csv.DictReader(sites_csv([site(n) for n in range(1, 40)], "demo").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["password"] == 'pass,"word'
    assert rows[0]["host_key"] == FINGERPRINT
    assert {row["labels.lab"] for row in rows} == {"demo"}
    assert len({(row["latitude"], row["longitude"]) for row in rows}) == 39
    assert len({ZoneInfo(row["timezone"]).key for row in rows}) == len({place[2] for place in PLACES})


def test_private_files_are_readable_by_their_owner_alone(tmp_path: Path):
    record.write_private(tmp_path / "sites.csv", b"x")
    assert stat.S_IMODE((tmp_path / "sites.csv").stat().st_mode) == 0o600


def test_a_folder_that_an_overlay_cannot_name_is_refused(tmp_path: Path):
    with pytest.raises(LabError) as refused:
        Lab(tmp_path / "my lab")
    assert refused.value.code == "E-LAB-DIRECTORY"


def test_an_unknown_site_is_not_found(tmp_path: Path):
    with pytest.raises(NotFoundError, match="site-9"):
        Lab(tmp_path).site("site-9")


def test_a_lab_that_is_not_there_is_down_already(tmp_path: Path):
    Lab(tmp_path / "none").down()
    assert not (tmp_path / "none").exists()


def test_without_root_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError) as refused:
        Lab(tmp_path / "lab").up(1)
    assert refused.value.code == "E-LAB-ROOT"
    assert not (tmp_path / "lab").exists()


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda name, path: None if name != "ip" else "/sbin/ip")
    with pytest.raises(LabError) as refused:
        programs.require_programs("ip", "systemd-nspawn", "debootstrap")
    assert "systemd-nspawn, debootstrap" in refused.value.message
    assert refused.value.hint == "apt-get install debootstrap systemd-container"


def test_a_program_that_fails_is_quoted():
    with pytest.raises(LabError) as failed:
        programs.run_program("/bin/ls", "/no/such", doing="look")
    assert failed.value.message.startswith("look: `/bin/ls /no/such` ended with status 2: ")
    assert "No such file" in failed.value.message
