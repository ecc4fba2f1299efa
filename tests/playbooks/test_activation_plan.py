"""The plan: what may be asked of a node, and that it is read as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import activation_plan
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from tests_support.activation_machine import NEW, NEWER, OLD
from tests_support.activation_story import Story


def hop(before: str, after: str, **changes: Any) -> dict[str, Any]:
    both = [
        {"part": part, "arch": arch, "name": name, "digest": digit * 64, "size_bytes": 1, "path": ""}
        for arch in ("amd64", "arm64")
        for part, name, digit in (("binary", "k3s", "a"), ("images", f"k3s-airgap-images-{arch}.tar.zst", "b"))
    ]
    return {"from_version": before, "to_version": after, "artifacts": both, "config": None, "images": None, **changes}


def make(*hops: dict[str, Any], **changes: Any) -> activation_plan.Plan:
    fixed: dict[str, Any] = {"attempt": 7, "operation": "op", "site": "store-1", "hops": list(hops), "checks": []}
    times = {"soak_s": 180, "start_timeout_s": 300, "verify_timeout_s": 600, "deadline_s": 1200}
    return activation_plan.make({**fixed, **times, **changes}, "amd64")


def refused(*hops: dict[str, Any], **changes: Any) -> tuple[str, str]:
    with pytest.raises(EdgeError) as caught:
        make(*hops, **changes)
    return caught.value.code, caught.value.message


def test_a_plan_is_read_as_it_was_written(node_root: Path) -> None:
    for story in (Story("", "", hops=2), Story("", "", config=True)):
        plan = story.plan(checks=[{"name": "till", "url": "http://127.0.0.1:8080/health"}])
        assert activation_plan.read(plan.text()) == plan


def test_only_the_files_for_the_node_s_architecture_are_planned() -> None:
    plan = make(hop(OLD, NEW))
    assert [each["name"] for each in plan.hops[0].artifacts] == ["k3s", "k3s-airgap-images-amd64.tar.zst"]


def test_a_configuration_is_written_for_the_version_that_will_read_it() -> None:
    (first,) = make(hop("v1.25.9+k3s1", "v1.26.13+k3s1", config={})).hops
    (second,) = make(hop(OLD, OLD, artifacts=[], config={"debug": True, "disable": ["traefik"]})).hops
    assert "disable-default-registry-endpoint: true" in str(first.config)
    assert 'node-name: "store-1"' in str(second.config)
    assert "debug: true" in str(second.config)
    assert second.disabled_components == ["traefik"]


@pytest.mark.parametrize(
    ("hops", "code", "words"),
    [
        ([], "E-UPGRADE-PLAN", "the plan has no hop"),
        ([hop(NEW, OLD)], "E-PRE-DOWNGRADE", "from v1.34.1+k3s1 to v1.33.5+k3s1 is a downgrade"),
        ([hop(OLD, "v1.33.5-rc1+k3s1")], "E-PRE-DOWNGRADE", "is a downgrade"),
        ([hop(OLD, NEWER)], "E-PRE-SKIP", "minor versions would be skipped"),
        ([hop(OLD, "v2.0.0+k3s1")], "E-PRE-SKIP", "minor versions would be skipped"),
        ([hop(OLD, NEW), hop(NEWER, NEWER, config={})], "E-UPGRADE-PLAN", "the one before it ends at v1.34.1+k3s1"),
        ([hop(OLD, OLD)], "E-UPGRADE-PLAN", "changes nothing"),
        ([hop(OLD, NEW, artifacts=[])], "E-PRE-ARCH", "are not all in the plan"),
        ([hop(OLD, "../../etc")], "E-PRE-VERSION", "'../../etc' is no k3s version"),
        ([hop(OLD, OLD, config={"cluster-init": True})], "E-PRE-CONFIG", "cluster-init may not be set"),
    ],
)
def test_what_cannot_end_well_is_not_begun(hops: list[dict[str, Any]], code: str, words: str) -> None:
    found = refused(*hops)
    assert found[0] == code
    assert words in found[1]


@pytest.mark.parametrize(
    "check",
    [
        {"name": "x"},
        {"name": "x", "url": "file:///etc/shadow"},
        {"name": "x", "url": "http://127.0.0.1/", "command": ["true"]},
        {"name": "x", "command": "rm -rf /"},
        {"name": "x", "command": []},
        {"name": "x", "command": [1]},
    ],
)
def test_a_check_that_cannot_be_carried_out_is_refused(check: dict[str, Any]) -> None:
    code, message = refused(hop(OLD, NEW), checks=[check])
    assert (code, message) == ("E-UPGRADE-PLAN", "the check 'x' names neither a URL (http, https) nor a command")
