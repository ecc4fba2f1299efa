"""The module `backup`: fence, check mode, what it keeps and what it tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import backup_place, observation
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import backup as module
from tests_support.backup_node import install


@pytest.fixture
def node(node_root: Path) -> Path:
    install()
    return node_root


class FakeModule:
    """What the module asks of AnsibleModule."""

    def __init__(self, attempt: int, *, number: int = 0, check_mode: bool = False, keep: int = 2) -> None:
        self.check_mode = check_mode
        self.params = {
            "site": "store-1",
            "attempt": attempt,
            "number": number,
            "fence_wait_s": 0,
            "keep": keep,
            "min_free_mib": 0,
        }


def test_the_module_takes_keeps_and_tells(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "observe", lambda *_: ({"health": "healthy"}, []))
    for attempt in (5, 6):
        module.body(FakeModule(attempt), Steps())
    foreseen = Steps()
    module.body(FakeModule(7, check_mode=True), foreseen)
    assert foreseen.results()["edge_changes"] == ["take backup " + backup_place.path(7)]
    assert backup_place.whole() == [5, 6]
    steps = Steps()
    result = module.body(FakeModule(7), steps)
    assert result == {"edge_observation": {"health": "healthy"}}
    assert steps.results()["edge_changes"] == [
        "take backup " + backup_place.path(7),
        "remove " + backup_place.path(5),
    ]
    assert [each["step"] for each in steps.results()["edge_steps"]] == ["preflight", "take", "prune"]
    assert steps.found["edge_backup"]["digest"] == backup_place.read_manifest(7)[1]
    again = Steps()
    module.body(FakeModule(7), again)
    assert again.results()["changed"] is False
    with pytest.raises(EdgeError) as caught:
        module.body(FakeModule(6), Steps())
    assert caught.value.code == "E-FENCE-STALE"


def test_a_repeat_of_the_operation_finds_what_its_first_attempt_took(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "observe", lambda *_: ({"health": "healthy"}, []))
    module.body(FakeModule(5, number=5), Steps())
    again = Steps()
    module.body(FakeModule(8, number=5), again)
    assert again.results()["changed"] is False
    assert again.found["edge_backup"]["attempt"] == 5
    assert backup_place.whole() == [5]
