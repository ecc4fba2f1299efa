"""The activation as a process that is really killed, with a k3s that really writes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_journal,
    activation_launch,
    activation_paths,
    activation_plan,
    layout,
    marker,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from tests_support import activation_process
from tests_support.activation_machine import NEW, OLD, files
from tests_support.activation_story import ATTEMPT, Story, verdict

KILLS = 5
TIMEOUT_S = 60


@pytest.fixture
def root(node_root: Path) -> Iterator[Path]:
    """A node with an old k3s that runs and writes."""
    for thing in SitePlan("store-1", OLD, files(OLD), {}).things:
        thing.place()
    (Path(layout.DATA_DIR) / "server").mkdir(parents=True)
    (Path(layout.DATA_DIR) / "server/token").write_text("K10token\n")
    marker.write("installed", OLD, applied="", site="store-1")
    services = activation_process.ProcessServices(node_root)
    services.start(1)
    deadline = time.monotonic() + TIMEOUT_S
    while not (node_root / "acknowledged").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    params = Story("", NEW).params(soak_s=0.2, start_timeout_s=5, verify_timeout_s=0.4, deadline_s=60)
    params["hops"][0]["images"] = []
    activation_launch.write(activation_plan.make(params, "amd64"))
    try:
        yield node_root
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((node_root / "k3s.pid").read_text()), signal.SIGKILL)
        for child in services._children:
            child.wait(10)


def rows() -> set[tuple[int, str]]:
    with contextlib.closing(sqlite3.connect(Path(layout.DATA_DIR) / "server/db/state.db")) as database:
        return set(database.execute("SELECT id, value FROM kine"))


def acknowledged(root: Path) -> set[tuple[int, str]]:
    lines = (root / "acknowledged").read_text().splitlines()
    return {(int(number), version) for number, version in (line.split() for line in lines)}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_no_acknowledged_change_of_the_version_that_stays_is_lost(
    seed: int, fault: bool, root: Path
) -> None:
    dice = random.Random(seed)  # noqa: S311 - repeatable
    if fault:
        (root / "fault").touch()
    for kill in range(KILLS + 1):
        program = subprocess.Popen([sys.executable, activation_process.__file__, str(root), "run"])
        if kill < KILLS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(dice.uniform(0.12, 0.6))
            program.kill()
        program.wait(TIMEOUT_S)
        if Path(activation_paths.verdict()).exists():
            break
    found = verdict()
    services = activation_process.ProcessServices(root)
    assert services.is_running()
    services.stop()
    events = activation_journal.read(ATTEMPT)
    assert found["verdict"] in ("accepted", "rolled_back", "refused"), events
    assert not (fault and found["verdict"] == "accepted")
    assert Path(layout.K3S).read_text() == "binary of " + found["version"]
    kept = {each for each in acknowledged(root) if each[1] <= found["version"]}
    assert kept <= rows()
    assert {version for _, version in rows()} <= {OLD, found["version"]}
    assert (root / "clusters").read_text() == "one more\n"
    assert not Path(activation_paths.hold()).exists()
