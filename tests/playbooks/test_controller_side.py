"""The controller's half of the collection: clocks, nodes that cannot run anything, chunks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.edgemgr.edge.plugins.action import upgrade as upgrade_action
from ansible_collections.edgemgr.edge.plugins.module_utils import clock, layout
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.modules import artifact_store
from ansible_collections.edgemgr.edge.plugins.plugin_utils import access, host_arguments, receive
from hypothesis import given
from hypothesis import strategies as st

CASES = sorted((Path(__file__).parent / "cases" / "access").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_node_that_cannot_run_a_module_is_refused_with_its_reason(path: Path) -> None:
    case = json.loads(path.read_text())
    raw = case["plain_module"]["res"]
    text = "\n".join(str(raw.get(key, "")) for key in ("msg", "module_stderr", "module_stdout"))
    found = access.refusal_from_output(text) or access.refusal_from_error(text)
    assert found is not None
    assert found["code"] == case["expected_code"]
    assert found["hint"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_was_captured_of_preflight_carries_that_refusal(path: Path) -> None:
    case = json.loads(path.read_text())
    result = case["preflight"]["res"]
    assert [each["code"] for each in result["edge_refusals"]] == [case["expected_code"]]
    assert result["edge_code"] == case["expected_code"]
    assert result["changed"] is False


def test_an_ordinary_failure_is_no_refusal() -> None:
    assert access.refusal_from_output("Traceback ... OSError: [Errno 28] No space left on device") is None
    assert access.refusal_from_error("Task failed: some template") is None


@given(asked=st.floats(0, 1e9), took=st.floats(0, 3600), at=st.floats(0, 1))
def test_a_right_clock_is_never_blamed_however_slow_the_link(asked: float, took: float, at: float) -> None:
    answered = asked + took
    read_at = min(max(asked + took * at, asked), answered)
    assert clock.skew_s(read_at, asked, answered) == 0


@given(asked=st.floats(1e8, 1e9), took=st.floats(0, 60), at=st.floats(0, 1), off=st.floats(-1e7, 1e7))
def test_a_wrong_clock_is_never_accused_of_more_than_it_is(asked: float, took: float, at: float, off: float) -> None:
    found = clock.skew_s(asked + took * at + off, asked, asked + took)
    assert abs(found) <= abs(off) + 1e-3
    if abs(off) > took + 1e-3:
        assert found * off > 0


@given(asked=st.floats(1e8, 1e9), took=st.floats(0, 600), off=st.floats(-1e6, 1e6), limit=st.integers(1, 300))
def test_what_the_node_decides_by_itself_the_controller_would_decide_too(
    asked: float, took: float, off: float, limit: int
) -> None:
    node_at = asked + took + off
    if not clock.needs_answer(node_at, asked, limit):
        alone = clock.check_clock(clock.skew_s(node_at, asked, node_at), limit)
        together = clock.check_clock(clock.skew_s(node_at, asked, asked + took), limit)
        assert alone.verdict == together.verdict


def test_a_clock_beyond_the_limit_is_refused_with_the_direction() -> None:
    assert clock.check_clock(-60.0, 60).verdict == "pass"
    behind = clock.check_clock(-3600.4, 60)
    assert (behind.verdict, behind.code) == ("block", "E-PRE-CLOCK")
    assert "at least 3600 s behind" in behind.detail
    assert behind.hint
    assert "ahead of" in clock.check_clock(90.0, 60).detail


@pytest.mark.parametrize(("ahead_s", "calls"), [(0.0, 2), (3600.0, 1)])
def test_an_upgrade_goes_on_once_the_clocks_were_compared_and_not_with_a_wrong_one(
    ahead_s: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def execute(_action: object, module: str, arguments: dict[str, Any], _host: object) -> dict[str, Any]:
        asked.append((module, arguments))
        if arguments.get("is_prepared"):
            return {"changed": True, "edge_steps": [{"step": "start"}]}
        return {"edge_pending": ["clock"], "edge_clock": time.time() + ahead_s, "edge_steps": [{"step": "preflight"}]}

    monkeypatch.setattr(access, "execute", execute)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    action = object.__new__(upgrade_action.ActionModule)
    action._task = SimpleNamespace(args={})
    result = action.run(None, {"edge_attempt": 7, "edge_hops": []})
    assert [module for module, _ in asked] == ["upgrade"] * calls
    if ahead_s:
        assert result["edge_code"] == "E-PRE-CLOCK"
    else:
        assert [each["step"] for each in result["edge_steps"]] == ["preflight", "start"]


def test_arguments_come_from_the_host_as_they_are_unless_the_task_gives_them() -> None:
    host = {"edge_site": "{{ 1/0 }}", "edge_attempt": 7, "edge_arch": "amd64", "inventory_hostname": "x"}
    found = host_arguments.arguments("bootstrap", {"arch": "arm64"}, host)
    assert found == {"site": "{{ 1/0 }}", "attempt": 7, "arch": "arm64"}


CONTENT = bytes(range(256)) * 40  # 10,240 bytes
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def _small_chunks(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 4096)
    Path(layout.CACHE_DIR).mkdir(parents=True)


def put(index: int, chunk: bytes, *, digest: str = "", attempt: int = 1) -> int:
    """What the action plugin runs on the node for one chunk."""
    program = Path(receive.__file__)
    arguments = [layout.partial(DIGEST), str(index * 4096), digest or hashlib.sha256(chunk).hexdigest(), str(attempt)]
    done = subprocess.run(
        [sys.executable, "-c", program.read_text(), *arguments, layout.FENCE_RECORD],
        input=chunk,
        timeout=30,
        check=False,
        capture_output=True,
    )
    return done.returncode


def chunks() -> list[bytes]:
    return [CONTENT[start : start + 4096] for start in range(0, len(CONTENT), 4096)]


@pytest.mark.usefixtures("_small_chunks")
def test_chunks_in_any_order_become_the_file() -> None:
    assert artifact_store._open(DIGEST) == []
    for index in (2, 0, 1):
        assert put(index, chunks()[index]) == 0
    artifact_store._complete(DIGEST, len(CONTENT))
    assert Path(layout.cached(DIGEST)).read_bytes() == CONTENT
    assert not Path(layout.partial(DIGEST)).exists()


@pytest.mark.usefixtures("_small_chunks")
def test_after_a_cut_the_node_tells_which_chunks_it_holds() -> None:
    artifact_store._open(DIGEST)
    put(0, chunks()[0])
    assert artifact_store._open(DIGEST) == [hashlib.sha256(chunks()[0]).hexdigest()]


@pytest.mark.usefixtures("_small_chunks")
def test_a_chunk_that_did_not_come_whole_changes_nothing() -> None:
    artifact_store._open(DIGEST)
    whole = hashlib.sha256(chunks()[0]).hexdigest()
    assert put(0, chunks()[0][:1000], digest=whole) == receive.DAMAGED
    assert Path(layout.partial(DIGEST)).read_bytes() == b""


@pytest.mark.usefixtures("_small_chunks")
def test_a_superseded_attempt_stores_no_more_chunks() -> None:
    artifact_store._open(DIGEST)
    Path(layout.FENCE_RECORD).write_text('{"attempt": 5}')
    assert put(0, chunks()[0], attempt=4) == receive.STALE
    assert put(0, chunks()[0], attempt=5) == 0


@pytest.mark.usefixtures("_small_chunks")
def test_a_late_chunk_cannot_bring_a_completed_partial_file_back() -> None:
    artifact_store._open(DIGEST)
    for index, chunk in enumerate(chunks()):
        put(index, chunk)
    artifact_store._complete(DIGEST, len(CONTENT))
    assert put(0, chunks()[0]) != 0
    assert sorted(path.name for path in Path(layout.CACHE_DIR).iterdir()) == [DIGEST]


@pytest.mark.usefixtures("_small_chunks")
def test_a_file_with_another_hash_never_gets_its_name() -> None:
    artifact_store._open(DIGEST)
    for index, chunk in enumerate(chunks()):
        put(index, chunk[:-1] + b"x")
    with pytest.raises(EdgeError) as caught:
        artifact_store._complete(DIGEST, len(CONTENT))
    assert caught.value.code == "E-ARTIFACT-HASH"
    assert list(Path(layout.CACHE_DIR).iterdir()) == []


@pytest.mark.usefixtures("_small_chunks")
def test_what_lies_beyond_the_end_of_a_partial_file_is_cut_off() -> None:
    Path(layout.partial(DIGEST)).write_bytes(CONTENT + b"left over from a longer file")
    artifact_store._complete(DIGEST, len(CONTENT))
    assert Path(layout.cached(DIGEST)).read_bytes() == CONTENT
