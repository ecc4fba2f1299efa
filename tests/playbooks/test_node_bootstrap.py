"""The bootstrap module from fence to report: what it asks the controller for, what it refuses, what a failure tells."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.action import bootstrap as action_plugin
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    check,
    converge,
    fence,
    layout,
    node_facts,
    preflight,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import bootstrap
from ansible_collections.edgemgr.edge.plugins.plugin_utils import transfer as sending

REPORT = {"edge_observation": {"health": "healthy"}, "edge_waited_s": 0.0}
PARTS = {"k3s": "binary", "k3s-airgap-images-amd64.tar.zst": "images"}


@pytest.fixture
def calls(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A node on which every check passes; what is done to it, in order. Only the order is of interest here."""
    done: list[str] = []

    def note(name: str, result: Any = None) -> Callable[..., Any]:
        def call(*_arguments: Any, **_more: Any) -> Any:
            done.append(name)
            return result

        return call

    monkeypatch.setattr(node_facts, "arch", lambda: "amd64")
    monkeypatch.setattr(preflight, "check_bootstrap", lambda *_: [check.passed("os", "Debian")])
    monkeypatch.setattr(converge, "converge", note("converge"))
    monkeypatch.setattr(converge, "foresee", note("foresee"))
    monkeypatch.setattr(verify, "await_health", note("verify", REPORT))
    monkeypatch.setattr(verify, "look", note("look", REPORT))
    return done


def artifacts(*, staged: bool) -> list[dict[str, Any]]:
    found = []
    for name, part in PARTS.items():
        content = name.encode()
        digest = hashlib.sha256(content).hexdigest()
        path = Path(layout.cached(digest))
        if staged:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        found.append(
            {"part": part, "arch": "amd64", "name": name, "digest": digest, "size_bytes": len(content), "path": name}
        )
    return found


def arguments(*, staged: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "attempt": 5,
        "fence_wait_s": 0,
        "site": "store-1",
        "version": "v1.33.5+k3s1",
        "arch": "",
        "artifacts": artifacts(staged=staged),
        "config": {},
        "clock_skew_s": 60,
        "verify_timeout_s": 0,
        "asked_at": time.time(),
        "is_prepared": False,
        **changes,
    }


def call(params: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """What the module would leave with."""
    steps = Steps()
    result = bootstrap.body(SimpleNamespace(params=params, check_mode=check_mode), steps)
    return {**steps.results(), **result}


def test_with_all_files_there_one_call_does_everything_in_order(calls: list[str]) -> None:
    result = call(arguments())
    assert calls == ["converge", "verify"]
    assert [each["step"] for each in result["edge_steps"]] == ["preflight", "verify"]  # converge notes its own
    assert result["edge_observation"] == {"health": "healthy"}
    assert [each["check"] for each in result["edge_checks"]] == ["os", "clock"]
    assert fence.recorded_attempt() == 5


def test_missing_files_are_asked_for_and_nothing_is_changed(calls: list[str], node_root: Path) -> None:
    result = call(arguments(staged=False))
    assert result["edge_pending"] == ["files"]
    assert len(result["edge_missing"]) == 2
    assert (result["changed"], calls, list(node_root.iterdir())) == (False, [], [])


def test_check_mode_asks_for_no_files_and_tells_that_they_would_be_sent(calls: list[str], node_root: Path) -> None:
    result = call(arguments(staged=False), check_mode=True)
    assert [each.partition(" (")[0] for each in result["edge_changes"]] == [f"send {name}" for name in PARTS]
    assert (calls, list(node_root.iterdir())) == (["foresee", "look"], [])


def test_a_clock_that_is_behind_is_refused_by_the_node_itself(calls: list[str], node_root: Path) -> None:
    with pytest.raises(EdgeError) as caught:
        call(arguments(staged=False, asked_at=time.time() + 3600))
    assert caught.value.code == "E-PRE-CLOCK"
    assert [each["code"] for each in caught.value.details["edge_refusals"]] == ["E-PRE-CLOCK"]
    assert (calls, list(node_root.iterdir())) == ([], [])


def test_a_clock_that_may_be_ahead_is_left_to_the_controller_before_anything_is_changed(calls: list[str]) -> None:
    result = call(arguments(asked_at=time.time() - 3600))
    assert result["edge_pending"] == ["clock"]
    assert result["edge_clock"] == pytest.approx(time.time(), abs=5)
    assert calls == []
    assert call(arguments(is_prepared=True, asked_at=0.0))["edge_observation"] == {"health": "healthy"}


def test_all_refusals_come_at_once_and_change_nothing(
    calls: list[str], node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [check.blocked("disk", "E-PRE-DISK", "full", "free"), check.blocked("ports", "E-PRE-PORTS", "taken", "end")]
    monkeypatch.setattr(preflight, "check_bootstrap", lambda *_: found)
    with pytest.raises(EdgeError) as caught:
        call(arguments(staged=False))
    assert [each["code"] for each in caught.value.details["edge_refusals"]] == ["E-PRE-DISK", "E-PRE-PORTS"]
    assert (caught.value.code, caught.value.retry) == ("E-PRE-DISK", "never")
    assert (calls, list(node_root.iterdir())) == ([], [])


def test_a_failure_tells_what_was_changed_until_then(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_plan: Any, _params: Any, steps: Steps) -> None:
        with steps.step("place"):
            steps.changes.append("place a")
            raise EdgeError("E-K3S-START", "no", "wait")

    monkeypatch.setattr(converge, "converge", fail)
    steps = Steps()
    with pytest.raises(EdgeError):
        bootstrap.body(SimpleNamespace(params=arguments(), check_mode=False), steps)
    told = steps.results()
    assert told["changed"] is True
    assert told["edge_changes"] == ["place a"]
    assert [(each["step"], each["changed"]) for each in told["edge_steps"]] == [("preflight", False), ("place", True)]
    assert told["edge_checks"]


def test_a_superseded_attempt_does_not_go_on_verifying(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*arguments: Any, still_ours: Callable[[], None]) -> dict[str, Any]:
        still_ours()
        with fence.hold(6, 0):
            pass
        still_ours()
        return REPORT

    monkeypatch.setattr(verify, "await_health", look)
    with pytest.raises(EdgeError) as caught:
        call(arguments())
    assert caught.value.code == "E-FENCE-STALE"


class FakeTask:
    """What the action plugin sees of its task."""

    def __init__(self, **args: Any) -> None:
        self.args = args


class Controller(action_plugin.ActionModule):
    """The action plugin with a module that answers at once."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._task = FakeTask(**params)


@pytest.fixture
def node(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The module is called in this process; `sent` chunks become staged files."""

    def execute(_action: Any, module: str, given: dict[str, Any], _host: dict[str, Any]) -> dict[str, Any]:
        assert module == "bootstrap"
        calls.append("module")
        return call({**arguments(staged=False), "asked_at": 0.0, **given})

    def bring(_self: Any, files: list[dict[str, Any]]) -> int:
        calls.append("send")
        artifacts(staged=True)
        return sum(each["size_bytes"] for each in files)

    monkeypatch.setattr(action_plugin.access, "execute", execute)
    monkeypatch.setattr(sending.Transfer, "bring", bring)
    monkeypatch.setattr(action_plugin.ActionBase, "run", lambda *_: {})
    return calls


def test_the_action_sends_what_is_missing_and_tells_of_both_halves(node: list[str]) -> None:
    files = artifacts(staged=False)
    result = Controller({"attempt": 5, "artifacts": files}).run(None, {})
    assert node == ["module", "send", "module", "converge", "verify"]
    assert [each["step"] for each in result["edge_steps"]] == ["preflight", "send", "preflight", "verify"]
    assert result["changed"] is True
    assert result["edge_changes"] == [f"send {name}" for name in PARTS]
    assert result["edge_sent_bytes"] == sum(each["size_bytes"] for each in files)


def test_the_action_calls_the_module_once_when_nothing_is_missing(node: list[str]) -> None:
    files = artifacts(staged=True)
    result = Controller({"attempt": 5, "artifacts": files}).run(None, {})
    assert node == ["module", "converge", "verify"]
    assert result["changed"] is False


def test_a_node_that_is_ahead_is_refused_by_the_action_before_files_travel(
    node: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(bootstrap.time, "time", lambda: now() + 3600)
    monkeypatch.setattr(action_plugin, "time", SimpleNamespace(time=now, monotonic=time.monotonic))
    result = Controller({"attempt": 5, "artifacts": artifacts(staged=False)}).run(None, {})
    assert (result["edge_code"], result["changed"]) == ("E-PRE-CLOCK", False)
    assert "ahead of" in result["msg"]
    assert node == ["module"]
