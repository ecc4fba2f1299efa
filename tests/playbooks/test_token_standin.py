"""A rotation of the token against the stand-in for k3s: its command, API and datastore; systemd alone is played."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_snapshot,
    backup_place,
    backup_take,
    layout,
    marker,
    preflight,
    service,
    token_journal,
    token_record,
    token_seal,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.check import passed
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import rotate_token as module
from tests_support.standin_node import MANIFEST, OLD, Node, make_node

from edgemgr.lab.release_files import write_standin_release

SITE = "edge-1"


class Played:
    """systemd with one service: the stand-in."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def state(self) -> dict[str, str]:
        process = self.node.process
        is_up = process is not None and process.poll() is None
        pid = str(process.pid) if process is not None and is_up else "0"
        return {"ActiveState": "active" if is_up else "failed", "SubState": "", "MainPID": pid, "NRestarts": "0"}

    def systemctl(self, *words: str) -> str:
        assert words == ("stop", layout.UNIT)
        if self.state()["ActiveState"] == "active":
            self.node.stop()
        self.node.process = None
        return ""

    def start(self, verb: str, _timeout_s: float) -> None:
        if verb == "restart":
            self.systemctl("stop", layout.UNIT)
        if self.state()["ActiveState"] != "active":
            try:
                self.node.start()
            except (AssertionError, OSError) as exc:
                raise EdgeError("E-K3S-CRASH", self.node.log.splitlines()[-1], "") from exc


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("releases")
    write_standin_release(directory / OLD, OLD, images_mib=1)
    return directory


@pytest.fixture
def node(node_root: Path, releases: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    for made in make_node(node_root, releases):
        install(made, node_root, monkeypatch)
        made.start()
        made.wait(made.is_ready, "Ready")
        made.run("kubectl", "apply", "-f", "-", text=MANIFEST)
        made.wait_for_pods("shop", 2)
        yield made


def install(node: Node, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bootstrap leaves it; what a module starts finds the stand-in's root, though it hands no variable on."""
    program = node.binary.rename(node.binary.with_name("standin"))
    Path(layout.K3S).write_text(f'#!/bin/sh\nK3S_STANDIN_ROOT={root} exec {program} "$@"\n')
    Path(layout.K3S).chmod(0o755)
    node.binary = program
    Path(layout.LOCK).parent.mkdir(parents=True)
    marker.write(marker.INSTALLED, OLD, site=SITE)
    played = Played(node)
    for name in ("state", "systemctl", "start"):
        monkeypatch.setattr(service, name, getattr(played, name))
    monkeypatch.setattr(service, "log_tail", lambda: node.log.splitlines()[-3:])
    monkeypatch.setattr(preflight, "check_node", lambda min_memory_mib: [passed("host", "as it should be")])


class Module:
    check_mode = False

    def __init__(self, attempt: int) -> None:
        given = {"site": SITE, "attempt": attempt, "number": 7, "fence_wait_s": 0, "min_free_mib": 0}
        self.params = {**given, "start_timeout_s": 30, "verify_timeout_s": 60}


def run(attempt: int = 7) -> dict[str, Any]:
    steps = Steps()
    return {**module.body(Module(attempt), steps), **steps.results()}


def token() -> str:
    return (Path(layout.DATA_DIR) / "server/token").read_text()


def opens_with(token_text: str) -> bool:
    return token_seal.names(token_seal.database()) == {token_seal.name_for(token_seal.password_of(token_text))}


def cluster_id(node: Node) -> str:
    found: str = json.loads(node.kubectl("get", "namespace", "kube-system", "-o", "json"))["metadata"]["uid"]
    return found


def test_the_cluster_goes_on_with_a_new_token_that_each_backup_of_after_holds(node: Node) -> None:
    old = token()
    assert backup_take.take(SITE, 5, sleep=lambda _: None)["token"] == 5
    result = run()
    assert (token() != old, opens_with(token())) == (True, True)
    assert result["edge_token_number"] == 7
    assert result["edge_observation"]["node_ready"] is True
    assert result["edge_observation"]["token_number"] == 7
    told = json.dumps(result) + node.log
    assert [each for each in (old, token()) if token_seal.password_of(each) in told] == []
    assert backup_take.take(SITE, 8, sleep=lambda _: None)["token"] == 7
    verify.await_health(SITE, OLD, 60, lambda: None)

    kept = token()
    assert run(attempt=9)["changed"] is False
    assert token() == kept
    node.stop()
    server = Path(layout.DATA_DIR) / "server"
    (server / "token").write_text(old)
    assert "encrypted with different token" in node.start_and_fail()
    # The datastore of before with all that belongs to it opens with the old one.
    place = Path(backup_place.path(5))
    activation_snapshot.remove_tree(str(server / "db"))
    (server / "db").mkdir()
    (server / "db/state.db").write_bytes((place / "state.db").read_bytes())
    (server / "cred/passwd").unlink()
    node.start()
    assert opens_with(old)


@pytest.mark.parametrize("cut", ["2", "4"])
def test_a_k3s_that_ends_among_its_writes_is_the_same_cluster_with_its_old_token(node: Node, cut: str) -> None:
    old, uid = token(), cluster_id(node)
    faults = Path(layout.CONFIG_DIR) / "standin.yaml"
    faults.write_text(f"token_cut: {cut}\n")
    with pytest.raises(EdgeError) as caught:
        run()
    assert caught.value.code == "E-TOKEN-BACK"
    assert (token(), opens_with(old)) == (old, True)
    assert cluster_id(node) == uid
    assert not token_journal.is_unfinished()
    faults.unlink()
    assert run(attempt=8)["edge_token_number"] == 7
    assert token_record.number() == 7
    assert opens_with(token())
