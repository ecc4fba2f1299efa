"""Whatever cuts an activation off, wherever: the site ends on the new version with the new data or on the old version
with the old data, the journal tells which, and nobody has touched it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_forward,
    activation_journal,
    activation_launch,
    activation_main,
    activation_paths,
    layout,
    marker,
)
from tests_support.activation_cuts import KINDS, Killed, empty, run_cut
from tests_support.activation_machine import NEW, NEWER, OLD, Machine
from tests_support.activation_story import ATTEMPT, Story, verdict

MOST_CUTS = 6

STORIES = {
    "good": Story("accepted", NEW),
    "crash": Story("rolled_back", OLD, new="crash"),
    "never-ready": Story("rolled_back", OLD, new="never_ready"),
    "loses-a-workload": Story("rolled_back", OLD, new="lose_workload"),
    "configuration": Story("accepted", OLD, config=True),
    "bad-configuration": Story("rolled_back", OLD, config=True, debug="crash"),
    "two-hops": Story("accepted", NEWER, hops=2),
    "second-hop-crashes": Story("rolled_back", NEW, hops=2, newer="crash"),
}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a place: two thousand nodes are made and thrown away here."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
    with tempfile.TemporaryDirectory(prefix="edgemgr-test-", dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
def site(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], Machine]:
    """Make the node anew, with its plan written."""
    monkeypatch.setattr(activation_forward, "RESTORE_MARGIN_BYTES", 4096)
    monkeypatch.setattr(activation_forward, "JOURNAL_RESERVE_BYTES", 4096)

    def make(story: Story) -> Machine:
        empty(node_root)
        machine = Machine(**story.faults)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda _: None)
            machine.install()
            activation_launch.write(story.plan())
        return machine

    return make


def go_on(machine: Machine) -> Callable[[bool], None]:
    return lambda is_resumed: activation_main.carry_out(is_resumed, machine.node())


def finish(root: Path, machine: Machine, *, is_resumed: bool) -> None:
    """Let it go on until it is over, with nothing in its way."""
    run_cut(root, machine, 0, "", go_on(machine), is_resumed=is_resumed)


def rows() -> list[tuple[int, str]]:
    with contextlib.closing(sqlite3.connect(Path(layout.DATA_DIR) / "server/db/state.db")) as database:
        return list(database.execute("SELECT id, value FROM kine WHERE name = 'row' ORDER BY id"))


def check_end(machine: Machine, story: Story, where: str, ends: tuple[str, ...]) -> None:
    """Old with old data or new with new data, and everything says so."""
    found = verdict()
    events = activation_journal.read(ATTEMPT)
    assert found["verdict"] in ends, (where, found, events)
    assert (events[-1]["step"], events[-1]["verdict"], events[-1]["why"]) == ("verdict", found["verdict"], found["why"])
    assert (found["why"] == "") is (found["verdict"] == "accepted"), (where, found)

    version = found["version"]
    assert machine.running == version == machine.binary(), (where, found)
    installed = marker.read()
    assert installed is not None
    assert (installed["state"], installed["version"]) == ("installed", version), where
    untouched = version == OLD and found["verdict"] != "accepted"
    assert ("debug: true" in Path(layout.CONFIG).read_text()) is not untouched, where
    wanted = ["images of " + version]
    assert [path.read_text() for path in Path(layout.IMAGES_DIR).iterdir()] == wanted, where

    # The datastore: nothing of a version that is not there any more, everything of those that are.
    data = Path(layout.DATA_DIR) / "server"
    machine.go_down()

    def stays(by: str) -> bool:
        return by.partition(" ")[0] <= version and not (untouched and by.endswith("debug"))

    assert [each for each in machine.written if stays(each[1])] == rows(), where
    assert machine.clusters == 1, where
    assert (data / "token").read_text() == "K10token\n"
    assert (data / "manifests/packaged.yaml").read_text() == version, where
    assert all(started >= by for started, by in machine.starts), (where, machine.starts)

    # Nothing is left that would stand in the way, or take the room of the next one.
    for path in (activation_paths.hold(), activation_paths.restore_reserve(), activation_paths.journal_reserve()):
        assert not Path(path).exists(), (where, path)


@pytest.mark.parametrize("name", STORIES)
def test_left_alone_it_ends_as_it_should(name: str, site: Callable[[Story], Machine], node_root: Path) -> None:
    story = STORIES[name]
    machine = site(story)
    finish(node_root, machine, is_resumed=False)
    check_end(machine, story, name, (story.ends,))
    assert verdict()["version"] == story.version
    assert not any(each["event"] == "resumed" for each in activation_journal.read())


class Border:
    """Dies just before or just after the n-th line of the journal: the borders of the steps."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.number, self.after, self.count = number, after, 0
        self.note = activation_journal.Journal.note

    def __call__(self, journal: activation_journal.Journal, *arguments: Any, **more: Any) -> None:
        self.count += 1
        if self.count == self.number and not self.after:
            raise Killed
        self.note(journal, *arguments, **more)
        if self.count == self.number:
            raise Killed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STORIES)
def test_cut_off_at_any_border_of_a_step_it_ends_all_the_same(
    name: str, kind: str, site: Callable[[Story], Machine], node_root: Path
) -> None:
    story = STORIES[name]
    number, borders = 1, 0
    while True:
        cut = False
        for after in (False, True):
            machine = site(story)
            border = Border(number, after=after)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(activation_journal.Journal, "note", lambda *args, _b=border, **more: _b(*args, **more))
                cut, _ = run_cut(node_root, machine, 0, kind, go_on(machine))
            finish(node_root, machine, is_resumed=kind != "killed")
            where = f"{name}, {kind}, {'after' if after else 'before'} line {number}"
            # Before the first line nothing was begun: a reboot then leaves it at that.
            never_begun = kind != "killed" and number == 1 and not after
            check_end(machine, story, where, ("refused",) if never_begun else (story.ends,))
            borders += cut
        if not cut:
            break
        number += 1
    assert borders >= 2 * 21


def cut_in_the_middle(name: str, kind: str, stride: int, site: Callable[[Story], Machine], root: Path) -> None:
    """At every n-th change of the disk, beginning with another one in each story; half a write included."""
    story = STORIES[name]
    die_at = 1 + (list(STORIES).index(name) + 3 * KINDS.index(kind)) % stride
    moments = 0
    while True:
        machine = site(story)
        cut, _ = run_cut(root, machine, die_at, kind, go_on(machine))
        if not cut:
            break
        has_begun = bool(activation_journal.read(ATTEMPT))
        finish(root, machine, is_resumed=kind != "killed")
        ends = (story.ends,) if has_begun or kind == "killed" else ("refused",)
        check_end(machine, story, f"{name}, {kind}, moment {die_at}", ends)
        moments += 1
        die_at += stride
    assert moments * stride > 150


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STORIES)
def test_cut_off_in_the_middle_of_a_step_it_ends_all_the_same(
    name: str, kind: str, site: Callable[[Story], Machine], node_root: Path
) -> None:
    cut_in_the_middle(name, kind, 11, site, node_root)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STORIES)
def test_cut_off_at_every_single_moment_it_ends_all_the_same(
    name: str, kind: str, site: Callable[[Story], Machine], node_root: Path
) -> None:
    cut_in_the_middle(name, kind, 1, site, node_root)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["good", "crash", "second-hop-crashes"])
@pytest.mark.parametrize("every", [5, 17, 43, 90, 131, 170, 260])
def test_cut_off_again_and_again_it_ends_one_way_or_the_other(
    name: str, kind: str, every: int, site: Callable[[Story], Machine], node_root: Path
) -> None:
    story = STORIES[name]
    machine = site(story)
    is_resumed = False
    for _ in range(MOST_CUTS):
        cut, _ = run_cut(node_root, machine, every, kind, go_on(machine), is_resumed=is_resumed)
        if not cut:
            break
        is_resumed = kind != "killed"
    finish(node_root, machine, is_resumed=is_resumed)
    # Too many interruptions are a reason of their own to go back, or not to begin.
    check_end(machine, story, f"{name}, {kind}, every {every}", ("accepted", "rolled_back", "refused"))
    interruptions = sum(each["event"] == "resumed" for each in activation_journal.read(ATTEMPT))
    assert interruptions <= MOST_CUTS
