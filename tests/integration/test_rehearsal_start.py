"""`edgemgr backup rehearse` starts backups of the stand-in for k3s in real namespaces, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests_support.appliance import until
from tests_support.queue_requests import add_sites
from tests_support.rehearsal_backup import Saved, rehearsed, save, shelve, take_in
from tests_support.standin_node import NEW, OLD, Node, make_node
from typer.testing import CliRunner, Result

from edgemgr.app import open_app
from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory import rehearsal_space
from edgemgr.inventory.rehearsal_faults import RehearsalError
from edgemgr.lab.release_files import write_standin_release
from edgemgr.settings import Settings

HANGING, ARM = "v1.33.9+k3s1", "v1.33.8+k3s1"
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till"}, "data": {"pin": "MTIzNA=="}}


def _can_start() -> bool:
    try:
        rehearsal_space.find_namespaces()
    except RehearsalError:
        return False
    return True


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _can_start(), reason="this machine gives no namespaces"),
]


def _configure(node: Node, *more: str) -> None:
    lines = [f"https-listen-port: {node.port}", "node-name: store-1", "node-ip: 127.0.0.1", *more]
    node.write("etc/rancher/k3s/config.yaml", "\n".join(lines) + "\n")


def _await_node(node: Node) -> None:
    node.wait(lambda: "store-1" in node.kubectl("get", "nodes", "-o", "name"), "the node is there")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, releases: Path) -> Iterator[Saved]:
    """A backup of a node on which k3s has run, with a secret that is sealed."""
    directory = tmp_path_factory.mktemp("saved")
    for node in make_node(directory / "site", releases):
        _configure(node, "secrets-encryption: true", "service-cidr: 10.43.0.0/16")
        node.start()
        _await_node(node)
        node.kubectl("apply", "-f", "-", text=json.dumps(SECRET))
        node.stop()
        yield save(node, directory)


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that does not come up for ten minutes."""
    directory = tmp_path_factory.mktemp("hanging") / HANGING
    write_standin_release(directory, HANGING, faults={"start_delay_s": 600}, images_mib=1)
    return directory


@pytest.fixture
def appliance(settings: Settings, releases: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Two sites, and the release that their backups are of. Nothing of a rehearsal is left in the end."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    with open_app(settings) as opened:
        add_sites(opened.database, 2, name="store")
    take_in(settings, releases / OLD)
    yield settings
    assert rehearsed(settings) == set(), "neither a process nor, with our own, a mount"
    assert not settings.runtime_dir.exists() or list(settings.runtime_dir.iterdir()) == []


@pytest.fixture
def copy(saved: Saved) -> Saved:
    return replace(saved, files=dict(saved.files))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["backup", "rehearse", *words])


def failed(*words: str) -> dict:
    """The row of the one backup, which was not proven."""
    done = run("--all", "-o", "json", *words)
    assert done.exit_code == 1, done.output
    (row,) = json.loads(done.stdout)["items"]
    assert row["is_sound"]
    return row


@pytest.mark.parametrize("owner", ["of root", "of a user namespace"])
def test_a_good_backup_starts_and_gives_its_objects(
    appliance: Settings, copy: Saved, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    if owner == "of a user namespace":  # what somebody who is not root has
        monkeypatch.setattr(rehearsal_space, "_OWN", ("--no-such-namespace",))
    shelve(appliance, "store-1", copy)
    done = run("--all", "-o", "json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["items"]
    assert (row["is_sound"], row["starts"], row["faults"], row["code"]) == (True, True, [], "")
    assert row["listed"]["nodes"] == 1
    assert row["listed"]["namespaces"] == 4
    assert row["listed"]["secrets"] == 2, "the node's password, and what was added"
    assert 0 < row["start_s"] < 60
    assert "1 backup(s) opened, 0 not sound, 1 started" in done.stderr


def test_the_table_says_whether_and_after_how_long(appliance: Settings, copy: Saved) -> None:
    shelve(appliance, "store-1", copy)
    shelve(appliance, "store-2", replace(copy, version=NEW))
    done = run("--all")
    assert done.exit_code == 1
    first, second = (line.split() for line in done.stdout.splitlines()[1:])
    assert first[:4] == ["store-1", "1", "yes", "yes"]
    assert second[:5] == ["store-2", "2", "yes", "-", "-"]
    assert f"k3s {NEW} for amd64, which this machine could start, is not on this appliance" in done.stdout
    assert "hint: Add the release's files with `edgemgr release add DIR`" in done.stderr


def test_what_is_checked_only_is_not_started(appliance: Settings, copy: Saved) -> None:
    shelve(appliance, "store-1", replace(copy, version=NEW))  # that could not be
    done = run("--all", "--check-only", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["items"][0]["starts"] is None


def test_a_backup_with_the_token_of_another_cluster_does_not_start(appliance: Settings, copy: Saved) -> None:
    copy.change("server/token", f"K10{'0' * 64}::server:of-another-cluster\n".encode())
    shelve(appliance, "store-1", copy)
    row = failed()
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-ENDED")
    assert row["faults"][0].startswith("k3s ended with status 1: ")
    assert "encrypted with different token" in row["faults"][0]
    assert any("Starting k3s" in line for line in row["log"])
    assert "of-another-cluster" not in json.dumps(row)


def test_a_datastore_of_a_newer_version_does_not_start_with_the_one_that_the_backup_names(
    appliance: Settings, releases: Path, tmp_path: Path
) -> None:
    for node in make_node(tmp_path / "site", releases):
        _configure(node)
        node.install((releases / NEW / "k3s").read_bytes())
        node.start()
        node.stop()
        shelve(appliance, "store-1", save(node, tmp_path))
    row = failed()
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-ENDED")
    assert "downgrade is not supported" in row["faults"][0]


def test_sealed_secrets_without_their_key_are_found_out(appliance: Settings, copy: Saved) -> None:
    config = copy.files["config/config.yaml"][1]
    copy.change("config/config.yaml", config.replace(b"secrets-encryption: true\n", b""))
    shelve(appliance, "store-1", copy)
    row = failed()
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-API")
    assert "identity transformer tried to read encrypted data" in row["faults"][0]


def test_certificates_of_another_cluster_are_found_out(
    appliance: Settings, releases: Path, tmp_path: Path, copy: Saved
) -> None:
    """The authority that the datastore holds is put in place by k3s; it is not the one that the backup names."""
    older = {name: each for name, each in copy.files.items() if name.startswith("server/tls/")}
    for node in make_node(tmp_path / "site", releases):
        _configure(node)
        node.start()
        node.stop()
        other = save(node, tmp_path)
    other.files.update(older)  # than the datastore, which wins therefore
    shelve(appliance, "store-1", other)
    row = failed("--start-timeout", "5s")
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-TIMEOUT")
    assert "a certificate that the authority in the backup did not sign" in row["faults"][0]


def test_a_k3s_that_hangs_is_ended_in_time(appliance: Settings, hanging: Path, copy: Saved) -> None:
    take_in(appliance, hanging)
    shelve(appliance, "store-1", replace(copy, version=HANGING))
    began_at = time.monotonic()
    row = failed("--start-timeout", "2s")
    assert time.monotonic() - began_at < 30
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-TIMEOUT")
    assert row["faults"][0].startswith("k3s was not ready within 2 s (the API does not answer")


def test_a_release_for_another_architecture_alone_is_said(appliance: Settings, tmp_path: Path, copy: Saved) -> None:
    write_standin_release(tmp_path / ARM, ARM, arches=("arm64",), images_mib=1)
    take_in(appliance, tmp_path / ARM)
    shelve(appliance, "store-1", replace(copy, version=ARM))
    row = failed()
    assert (row["starts"], row["code"]) == (None, "E-REHEARSE-RELEASE")
    assert "for amd64, which this machine could start, is not on this appliance, only for arm64" in row["faults"][0]


def test_a_program_that_was_damaged_here_is_not_started(appliance: Settings, releases: Path, copy: Saved) -> None:
    shelve(appliance, "store-1", copy)
    content = bytearray((releases / OLD / "k3s").read_bytes())
    stored = appliance.release_dir / "sha256" / hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(content)
    row = failed()
    assert (row["starts"], row["code"]) == (None, "E-REHEARSE-SETUP")
    assert "has another SHA-256 than when it was added" in row["faults"][0]


def test_a_backup_that_does_not_fit_is_not_started(
    appliance: Settings, copy: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemgr.inventory.rehearsal_start._available_memory", lambda: 100 << 20)
    shelve(appliance, "store-1", copy)
    row = failed()
    assert (row["starts"], row["code"]) == (None, "E-REHEARSE-ROOM")
    assert "are needed in memory to start k3s, 100 MiB are free" in row["faults"][0]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory, releases: Path) -> Iterator[Saved]:
    """A backup of a node whose datastore is etcd."""
    directory = tmp_path_factory.mktemp("etcd")
    for node in make_node(directory / "site", releases):
        _configure(node, "cluster-init: true", "secrets-encryption: true")
        node.start()
        _await_node(node)
        assert node.run("etcd-snapshot", "save", "--name", "mine").returncode == 0
        (found,) = (node.data / "server/db/snapshots").iterdir()
        node.stop()
        yield save(node, directory, found)


def test_etcd_is_made_anew_from_its_snapshot_and_started(appliance: Settings, snapshot: Saved) -> None:
    shelve(appliance, "store-1", snapshot)
    done = run("--all", "-o", "json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["items"]
    assert (row["starts"], row["objects"], row["listed"]["nodes"]) == (True, 0, 1)


def test_etcd_with_the_token_of_another_cluster_does_not_start(appliance: Settings, snapshot: Saved) -> None:
    other = replace(snapshot, files=dict(snapshot.files))
    other.change("server/token", f"K10{'0' * 64}::server:of-another-cluster\n".encode())
    shelve(appliance, "store-1", other)
    row = failed()
    assert (row["starts"], row["code"]) == (False, "E-REHEARSE-ETCD")
    assert "encrypted with different token" in row["faults"][0]


def test_they_go_one_at_a_time(appliance: Settings, copy: Saved) -> None:
    shelve(appliance, "store-1", copy)
    lock = os.open(appliance.state_dir / "rehearsal.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("--all")
        assert isinstance(done.exception, EdgemgrError)
        assert done.exception.code == "E-REHEARSE-BUSY"
        assert run("--all", "--check-only").exit_code == 0
    finally:
        os.close(lock)


def test_a_machine_without_namespaces_is_told_apart_from_a_bad_backup(
    appliance: Settings, copy: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_OWN", "_AS_USER"):
        monkeypatch.setattr(rehearsal_space, name, ("--no-such-namespace",))
    shelve(appliance, "store-1", copy)
    done = run("--all")
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == "E-REHEARSE-NAMESPACES"
    assert "`edgemgr backup rehearse --check-only`" in done.exception.hint
    assert run("--all", "--check-only").exit_code == 0


def _begun(settings: Settings) -> subprocess.Popen[bytes]:
    """A rehearsal of its own process, with k3s at work."""
    process = subprocess.Popen(
        # Whoever runs the tests in the background has their interrupts ignored.
        ["env", "--default-signal=INT", sys.executable, "-m", "edgemgr", "backup", "rehearse", "--all"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    until("k3s runs", lambda: any(_is_k3s(pid) for pid in rehearsed(settings)), 60)
    return process


def _is_k3s(pid: int) -> bool:
    try:
        return b"rehearsal.yaml" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def begin(appliance: Settings, hanging: Path, copy: Saved) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    take_in(appliance, hanging)
    shelve(appliance, "store-1", replace(copy, version=HANGING))
    begun: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        begun.append(_begun(appliance))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.wait()
    until("everything in the namespaces has ended", lambda: not rehearsed(appliance), 20)


def test_an_interrupt_ends_everything_and_leaves_nothing(
    appliance: Settings, begin: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = begin()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert rehearsed(appliance) == set()
    assert list(appliance.runtime_dir.iterdir()) == []


def test_a_killed_rehearsal_takes_k3s_with_it_and_the_next_one_sweeps(
    appliance: Settings, begin: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = begin()
    process.kill()
    process.wait()
    until("everything in the namespaces has ended", lambda: not rehearsed(appliance), 20)
    (left,) = appliance.runtime_dir.iterdir()
    assert left.stat().st_mode & 0o077 == 0
    assert run("--all", "--start-timeout", "1s").exit_code == 1
    assert list(appliance.runtime_dir.iterdir()) == []
