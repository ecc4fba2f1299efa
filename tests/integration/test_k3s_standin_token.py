"""`k3s token rotate` of the stand-in, by k3s' contract: what it writes, in which order, and what opens afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest
from tests_support.standin_node import Node

from edgemgr.lab.k3s_standin.build import build_standin

#: What the fault `token_cut` leaves, and what a start says of it.
CUTS = {
    1: "newer than datastore",
    2: "encrypted with different token",
    3: "newer than datastore",
    4: "newer than datastore",
}


def rotate(node: Node, *words: str) -> subprocess.CompletedProcess[str]:
    return node.run("token", "rotate", "--server", f"https://127.0.0.1:{node.port}", *words)


def sealed(node: Node) -> int:
    """In how many places bootstrap data is kept."""
    with closing(sqlite3.connect(node.data / "server/db/state.db")) as database:
        query = (
            "SELECT count(*) FROM kine WHERE name LIKE '/bootstrap/%' AND deleted = 0"
            " AND id IN (SELECT max(id) FROM kine GROUP BY name)"
        )
        return int(database.execute(query).fetchone()[0])


@pytest.fixture
def started(node: Node) -> Node:
    node.start()
    return node


def test_a_rotated_token_opens_the_datastore_and_the_old_one_does_not(started: Node):
    token = started.data / "server/token"
    old = token.read_text()
    assert rotate(started, "--new-token", "fresh").returncode == 0
    assert token.read_text().endswith("::server:fresh\n")
    for _ in range(2):  # k3s refuses at its start what is newer than its datastore
        started.stop()
        started.start()
    assert token.read_text().endswith("::server:fresh\n")
    assert sealed(started) == 1
    started.stop()
    token.write_text(old)
    assert "encrypted with different token" in started.start_and_fail()


def test_without_a_new_token_the_server_draws_one_and_nobody_is_told(started: Node):
    token = started.data / "server/token"
    old = token.read_text()
    done = rotate(started)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Token rotated, restart k3s nodes with new token" in done.stdout
    new = token.read_text()
    assert new[:76] == old[:76]
    assert len(new.strip().rpartition(":")[2]) == 32
    assert new.strip().rpartition(":")[2] not in done.stdout
    assert (started.data / "server/node-token").resolve() == token.resolve()
    assert new.strip().rpartition(":")[2] in (started.data / "server/cred/passwd").read_text()


def test_only_who_has_the_token_of_this_server_may_ask_it(started: Node):
    token = started.data / "server/token"
    old = token.read_text()
    for wrong, why in ((old.strip()[:-1] + "x", "401"), ("K10" + "0" * 64 + "::server:x", "CA hash does not match")):
        done = rotate(started, "--token", wrong)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert token.read_text() == old
    started.stop()
    assert rotate(started).returncode == 1


@pytest.mark.parametrize("cut", CUTS)
def test_a_server_that_ends_in_between_starts_again_with_what_was_there_before(started: Node, cut: int):
    server, kept = started.data / "server", started.root / "kept"
    started.stop()
    shutil.copytree(server, kept, symlinks=True)
    started.start(K3S_STANDIN_TOKEN_CUT=str(cut))
    saved_at = (server / "cred/passwd").stat().st_mtime
    started.wait(lambda: time.time() > saved_at + 1.5, "the passwords would be newer than the datastore")
    assert rotate(started).returncode == 1
    assert started.process is not None
    assert started.process.wait(10) == 1
    started.process = None
    assert CUTS[cut] in started.start_and_fail()
    shutil.rmtree(server)
    shutil.copytree(kept, server, symlinks=True)
    started.start()


def test_releases_before_october_2023_do_not_know_it(node: Node):
    node.install(build_standin("v1.28.2+k3s1"))
    done = rotate(node)
    assert (done.returncode, "No help topic for 'rotate'" in done.stderr) == (3, True)
