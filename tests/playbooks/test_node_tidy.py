"""Tidying a node: only what nothing runs from goes, and a datastore is exchanged whole or not at all."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    converge,
    layout,
    marker,
    observation,
    preflight,
    service,
    tidy_leftovers,
    tidy_vacuum,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import passed
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import tidy as module
from tests_support import kine_writer

VERSION = "v1.33.5+k3s1"
CURRENT, PREVIOUS, OLD, OLDER = (letter * 64 for letter in "abcd")


class Killed(BaseException):
    """What SIGKILL looks like from inside."""


class Machine:
    """A node with leftovers and a datastore that was larger once; k3s opens it when it starts."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.verbs: list[str] = []
        self.refuses = 0  # starts that fail
        self.rows = 0
        (proc / "self").mkdir(parents=True)
        for version in ("v1.30.1+k3s1", "v1.31.9+k3s1", "v1.32.5+k3s1", VERSION):
            program = Path(layout.binary(version))
            program.parent.mkdir(parents=True)
            program.write_text("program of " + version)
        Path(layout.K3S).parent.mkdir(parents=True)
        Path(layout.K3S).symlink_to(layout.binary(VERSION))
        for name in (CURRENT, PREVIOUS, OLD, OLDER):
            place = self.data / name / "bin"
            place.mkdir(parents=True)
            (place / "k3s").write_bytes(b"x" * 8192)
        (self.data / "current").symlink_to(self.data / CURRENT)
        (self.data / "previous").symlink_to(self.data / PREVIOUS)
        self.process(1, exe="/sbin/init")

    @property
    def data(self) -> Path:
        return Path(layout.DATA_DIR) / "data"

    def process(self, pid: int, *, exe: str = "/bin/true", maps: str = "", arguments: str = "") -> None:
        place = self.proc / str(pid)
        place.mkdir()
        (place / "exe").symlink_to(exe)
        (place / "maps").write_text(maps)
        (place / "cmdline").write_text(arguments.replace(" ", "\0"))

    def left(self) -> set[str]:
        return {path.name[0] for path in self.data.iterdir() if not path.is_symlink()}

    def versions(self) -> set[str]:
        return {path.name for path in Path(layout.BINARY_DIR).iterdir()}

    def systemctl(self, *words: str) -> str:
        self.verbs.append(words[0])
        return ""

    def start(self, verb: str, timeout_s: float) -> None:
        self.verbs.append(verb)
        if self.refuses:
            self.refuses -= 1
            raise EdgeError("E-K3S-CRASH", "k3s crashed 3 times while starting", "")
        with closing(sqlite3.connect(tidy_vacuum.database())) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
            (self.rows,) = opened.execute("SELECT count(*) FROM kine").fetchone()

    def bloat(self) -> int:
        """A datastore most of which is free pages; how many rows it has."""
        path = Path(tidy_vacuum.database())
        path.parent.mkdir(parents=True)
        with closing(kine_writer.connect(str(path))) as opened:
            dice = random.Random(3)  # noqa: S311 - repeatable
            for _ in range(200):
                kine_writer.change(opened, dice)
            blob = b"x" * 100_000
            opened.executemany(
                "INSERT INTO kine (name, prev_revision, value) VALUES ('/gone', ?, ?)",
                ((-number, blob) for number in range(1, 400)),
            )
            opened.execute("DELETE FROM kine WHERE name = '/gone'")
            (rows,) = opened.execute("SELECT count(*) FROM kine").fetchone()
        path.chmod(0o644)
        return int(rows)


@pytest.fixture
def machine(node_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path / "proc")
    marker.write(marker.INSTALLED, VERSION, site="store-1")
    find = tidy_leftovers.find
    monkeypatch.setattr(tidy_leftovers, "find", lambda: find(str(machine.proc)))
    for name in ("systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(machine, name))
    monkeypatch.setattr(converge, "_await_version", lambda version, deadline: None)
    monkeypatch.setattr(preflight, "check_node", lambda min_memory_mib: [passed("host", "as it should be")])
    monkeypatch.setattr(observation, "observe", lambda site, version, disabled: ({"node_name": site}, []))
    monkeypatch.setattr(verify, "await_health", lambda *_, **__: {"edge_observation": {"health": "healthy"}})
    return machine


class Module:
    check_mode = False

    def __init__(self, **params: Any) -> None:
        given = {"site": "store-1", "attempt": 7, "fence_wait_s": 0, "min_free_mib": 1}
        self.params = {"vacuum": False, "start_timeout_s": 0, "verify_timeout_s": 0, **given, **params}


def run(*, check: bool = False, **params: Any) -> dict[str, Any]:
    steps, given = Steps(), Module(**params)
    given.check_mode = check
    result = module.body(given, steps)
    return {**steps.results(), **result}


def refused(**params: Any) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        run(**params)
    return caught.value


def test_what_no_version_at_hand_needs_goes_and_the_last_one_before_it_stays(machine: Machine) -> None:
    result = run()
    assert machine.versions() == {VERSION, "v1.32.5+k3s1"}
    assert machine.left() == {"a", "b"}
    assert machine.verbs == []
    assert result["edge_freed_bytes"] >= 2 * 8192
    assert (result["changed"], result["edge_still_used"]) == (True, [])
    assert run(attempt=8)["changed"] is False


@pytest.mark.parametrize(
    "way",
    [
        {"exe": "{0}/bin/containerd-shim-runc-v2"},
        {"exe": "{0}/bin/containerd-shim-runc-v2 (deleted)"},
        {"maps": "7f00-7f01 r-xp 00000000 08:01 1234 {0}/bin/runc\n"},
        {"arguments": "{0}/bin/containerd-shim-runc-v2 -namespace k8s.io"},
    ],
    ids=["program", "deleted program", "mapped", "argument"],
)
def test_a_directory_from_which_something_runs_stays_and_is_told(machine: Machine, way: dict[str, str]) -> None:
    machine.process(77, **{name: text.format(machine.data / OLD) for name, text in way.items()})
    result = run()
    assert machine.left() == {"a", "b", "c"}
    assert result["edge_still_used"] == [str(machine.data / OLD)]


def test_what_a_link_a_mount_or_containerd_names_stays(machine: Machine) -> None:
    (machine.data / "cni").mkdir()
    (machine.data / "cni/bridge").symlink_to(f"../{OLD}/bin/cni")
    (machine.proc / "self/mounts").write_text(f"/dev/sda1 {machine.data}/{OLDER}/x ext4 rw 0 0\n")
    config = Path(layout.DATA_DIR) / "agent/etc/containerd/config.toml"
    config.parent.mkdir(parents=True)
    run()
    assert {"c", "d"} <= machine.left()
    (machine.data / "cni/bridge").unlink()
    (machine.proc / "self/mounts").unlink()
    config.write_text(f'bin_dir = "{machine.data}/{OLD}/bin"\n')
    run(attempt=8)
    assert {"c"} <= machine.left()
    assert "d" not in machine.left()


def test_a_removal_that_was_cut_off_leaves_nothing_that_k3s_would_take_for_whole(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: str) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tidy_leftovers.shutil, "rmtree", die)
        with pytest.raises(Killed):
            run()
    assert not Path(layout.binary("v1.30.1+k3s1")).exists()
    run(attempt=8)
    assert machine.versions() == {VERSION, "v1.32.5+k3s1"}
    assert machine.left() == {"a", "b"}


def test_where_the_running_version_is_not_known_nothing_goes(machine: Machine) -> None:
    Path(layout.K3S).unlink()
    (machine.data / "current").unlink()
    assert tidy_leftovers.find() == ([], [])


def test_check_mode_tells_what_would_go_and_touches_nothing(machine: Machine) -> None:
    machine.bloat()
    changes = run(check=True, vacuum=True)["edge_changes"]
    assert changes[-1] == "make the datastore smaller"
    assert len(changes) == 5
    assert machine.left() == {"a", "b", "c", "d"}
    assert machine.verbs == []


def test_a_datastore_gives_back_what_it_does_not_use_and_keeps_what_it_holds(machine: Machine) -> None:
    rows, path = machine.bloat(), Path(tidy_vacuum.database())
    before = path.stat().st_size
    result = run(vacuum=True)
    assert machine.verbs == ["stop", "start"]
    assert machine.rows == rows
    assert path.stat().st_size < before / 10
    assert path.stat().st_mode & 0o777 == 0o644
    assert result["edge_freed_bytes"] > 16 << 20
    assert result["edge_observation"] == {"health": "healthy"}
    assert {each.name for each in path.parent.iterdir()} <= {"state.db", "state.db-wal", "state.db-shm"}
    assert run(attempt=8, vacuum=True)["changed"] is False
    assert machine.verbs == ["stop", "start"]


def test_what_is_in_the_log_alone_is_not_lost(machine: Machine, tmp_path: Path) -> None:
    rows, path = machine.bloat(), Path(tidy_vacuum.database())
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute("INSERT INTO kine (name, prev_revision) VALUES ('/last', -1000)")
        crashed = {name: path.with_name(name).read_bytes() for name in ("state.db", "state.db-wal")}
    for name, content in crashed.items():  # as a k3s leaves them that was killed
        path.with_name(name).write_bytes(content)
    run(vacuum=True)
    assert machine.rows == rows + 1


def test_without_the_word_k3s_is_not_stopped(machine: Machine) -> None:
    machine.bloat()
    run()
    assert machine.verbs == []


def test_a_k3s_that_does_not_come_up_with_the_compact_one_gets_its_old_one_back(machine: Machine) -> None:
    rows, path = machine.bloat(), Path(tidy_vacuum.database())
    before = path.stat().st_size
    machine.refuses = 1
    failure = refused(vacuum=True)
    assert (failure.code, failure.retry) == ("E-TIDY-BACK", "never")
    assert machine.verbs == ["stop", "start", "stop", "start"]
    assert (path.stat().st_size, machine.rows) == (before, rows)
    assert not tidy_vacuum.was_cut()


@pytest.mark.parametrize("at", ["link", "rename", "sync_file", "bring_up"])
def test_killed_anywhere_the_datastore_in_place_is_whole_and_the_next_attempt_starts_k3s(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    rows = machine.bloat()

    def die(*_: Any) -> None:
        raise Killed

    run(attempt=6)  # the leftovers are gone: what is renamed from here on is the datastore
    owner = {"link": os, "rename": os, "sync_file": tidy_vacuum, "bring_up": converge}[at]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, at, die)
        with pytest.raises(Killed):
            run(vacuum=True, attempt=6)
    with closing(sqlite3.connect(f"file:{tidy_vacuum.database()}?mode=ro", uri=True)) as opened:
        assert opened.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert opened.execute("SELECT count(*) FROM kine").fetchone() == (rows,)
    assert tidy_vacuum.was_cut()
    machine.verbs.clear()
    run(attempt=8)
    assert (machine.verbs, machine.rows) == (["start"], rows)
    assert not tidy_vacuum.was_cut()


def test_a_damaged_datastore_is_left_as_it_is_and_k3s_is_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = machine.bloat()
    seen = iter([[(1, 1, 1)], [(2, 2, 2)]])
    monkeypatch.setattr(tidy_vacuum, "_contents", lambda opened: next(seen))
    failure = refused(vacuum=True)
    assert failure.code == "E-TIDY-VACUUM"
    assert "not the same contents" in failure.message
    assert (machine.verbs, machine.rows) == (["stop", "start"], rows)


@pytest.mark.parametrize("at", ["link", "rename", "chown"])
def test_a_file_system_that_refuses_in_the_middle_does_not_leave_k3s_stopped(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    rows = machine.bloat()

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "it has no links")

    run(attempt=6)  # the leftovers are gone: what is renamed from here on is the datastore
    monkeypatch.setattr(os, at, refuse)
    failure = refused(vacuum=True, attempt=6)
    assert (failure.code, "it has no links" in failure.message) == ("E-TIDY-VACUUM", True)
    assert (machine.verbs, machine.rows) == (["stop", "start"], rows)
    assert not tidy_vacuum.was_cut()


def test_without_room_for_the_copy_nothing_is_stopped(machine: Machine) -> None:
    machine.bloat()
    assert refused(vacuum=True, min_free_mib=1 << 30).code == "E-TIDY-ROOM"
    assert machine.verbs == []


def test_a_node_without_sqlite_has_nothing_to_vacuum(machine: Machine) -> None:
    run(vacuum=True)
    assert machine.verbs == []


def test_an_upgrade_that_needs_hands_or_a_node_that_is_not_ours_is_refused_untouched(machine: Machine) -> None:
    hold = Path(activation_paths.hold())
    hold.parent.mkdir(parents=True)
    hold.touch()
    assert refused().code == "E-UPGRADE-HANDS"
    hold.unlink()
    Path(layout.MARKER).unlink()
    assert refused().code == "E-TIDY-UNFINISHED"
    assert machine.left() == {"a", "b", "c", "d"}
    assert not Path(layout.FENCE_RECORD).exists()


@pytest.mark.parametrize(
    ("free", "whole", "worth"),
    [(0, 0, False), (15 << 20, 20 << 20, False), (16 << 20, 80 << 20, True), (16 << 20, 81 << 20, False)],
)
def test_a_stop_of_k3s_is_worth_a_fifth_and_some_mib(free: int, whole: int, worth: bool) -> None:
    assert tidy_vacuum.is_worth_it(free, whole) is worth
