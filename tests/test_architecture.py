"""The plan of the house, held against the house."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from edgemgr.model.operation import TRANSITIONS, Operation, OperationKind, OperationState
from edgemgr.model.site import Site, Trust
from edgemgr.operations.registry import SPECS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgemgr"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
STAGES = ("inventory", "operations", "queue", "runner", "status", "web")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_goes_in_what_comes_out_and_what_it_never_does(stage: str) -> None:
    text = importlib.import_module(f"edgemgr.{stage}").__doc__ or ""
    lines = [line.split(":")[0] for line in text.splitlines() if re.match(r"(In|Out|Never):", line)]
    assert lines == ["In", "Out", "Never"]


def test_the_picture_of_the_states_is_the_table_of_the_states() -> None:
    picture = (ROOT / "docs/architecture.md").read_text()
    arrows = set(re.findall(r"^  (\w+) --> (\w+)$", picture, re.MULTILINE))
    table = {(state.value, after.value) for state, following in TRANSITIONS.items() for after in following}
    assert arrows == table


def _values(constraint: str, table: object) -> set[str]:
    (found,) = [c for c in table.constraints if c.name == constraint]  # type: ignore[attr-defined]
    return set(re.findall(r"'(\w+)'", str(found.sqltext)))


def test_the_database_knows_the_same_states_as_the_code() -> None:
    assert _values("operation_state", Operation.__table__) == {state.value for state in OperationState}  # type: ignore[attr-defined]
    assert _values("site_trust", Site.__table__) == {trust.value for trust in Trust}  # type: ignore[attr-defined]


def test_every_kind_of_operation_has_a_spec_and_a_playbook_of_its_name() -> None:
    assert set(SPECS) == set(OperationKind)
    for spec in SPECS.values():
        assert (ROOT / "playbooks" / f"{spec.kind.value}.yml").exists() == spec.has_playbook


def test_only_settings_reads_the_environment() -> None:
    readers = [path for path in SOURCES if re.search(r"\bos\.environ|\bos\.getenv|\bgetenv\(", path.read_text())]
    inside_sites = PACKAGE / "lab"  # the lab's stand-ins run on the sites, as programs of their own
    assert [path for path in readers if path.name != "settings.py" and inside_sites not in path.parents] == []


def test_no_program_is_started_through_a_shell() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{path}:{node.value.lineno} starts a shell")


def test_nothing_outside_the_lab_knows_the_stand_in_for_k3s() -> None:
    for path in SOURCES:
        if PACKAGE / "lab" not in path.parents and path != PACKAGE / "cli" / "lab.py":
            assert "standin" not in path.read_text().lower().replace("-", "").replace("_", ""), path
    for path in (ROOT / "playbooks").rglob("*.py"):
        assert "k3s_standin" not in path.read_text(), path


def test_no_file_grows_beyond_what_fits_one_concept() -> None:
    long = {str(path.relative_to(ROOT)): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
