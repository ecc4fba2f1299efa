"""Roles, modules, playbooks and the README say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
COLLECTION = PLAYBOOKS / "collections" / "ansible_collections" / "edgemgr" / "edge"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("*.py"))
KINDS = ("bootstrap", "verify", "reset")


def role_file(role: str, name: str) -> Any:
    return yaml.safe_load((COLLECTION / "roles" / role / name).read_text())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_defaults_and_argument_specs_have_the_same_keys(role: str) -> None:
    options = role_file(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) == set(role_file(role, "defaults/main.yml"))
    assert all(name.startswith(f"{role}_") for name in options)
    assert all(option["description"] and option["type"] for option in options.values())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_one_fat_task_of_the_collection(role: str) -> None:
    (task,) = role_file(role, "tasks/main.yml")
    (module,) = set(task) - {"name", "register"}
    assert module == f"edgemgr.edge.{role}"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_hands_over_every_variable_that_it_has(role: str) -> None:
    (task,) = role_file(role, "tasks/main.yml")
    values = "".join(str(value) for value in task[f"edgemgr.edge.{role}"].values())
    assert set(re.findall(rf"{role}_\w+", values)) == set(role_file(role, "defaults/main.yml"))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_readme_lists_its_variables(role: str) -> None:
    readme = (COLLECTION / "roles" / role / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| `(.*)` \|$", readme, re.MULTILINE))
    assert listed == role_file(role, "defaults/main.yml")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_s_documentation_parses_and_has_an_example(module: str) -> None:
    code = import_module(f"ansible_collections.edgemgr.edge.plugins.modules.{module}")
    documentation = yaml.safe_load(code.DOCUMENTATION)
    assert documentation["module"] == module
    (example,) = yaml.safe_load(code.EXAMPLES)
    used = set(example[f"edgemgr.edge.{module}"])
    assert used <= set(documentation["options"])
    assert {name for name, option in documentation["options"].items() if option.get("required")} <= used
    assert yaml.safe_load(code.RETURN)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "artifacts"])
def test_a_module_accepts_what_its_documentation_says(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = import_module(f"ansible_collections.edgemgr.edge.plugins.modules.{module}")
    seen: dict[str, Any] = {}

    def spy(argument_spec: dict[str, Any], **more: Any) -> None:
        seen.update(argument_spec)
        raise StopIteration

    monkeypatch.setattr(code, "AnsibleModule", spy)
    with pytest.raises(StopIteration):
        code.main()
    options = yaml.safe_load(code.DOCUMENTATION)["options"]
    assert set(options) == set(seen)
    for name, option in options.items():
        for key in ("type", "default", "choices", "elements"):
            assert option.get(key) == seen[name].get(key), (name, key)
        assert bool(option.get("required")) is bool(seen[name].get("required")), name


def test_the_collection_s_readme_lists_every_host_variable() -> None:
    text = "".join((COLLECTION / "roles" / role / "defaults" / "main.yml").read_text() for role in ROLES)
    readme = (COLLECTION / "README.md").read_text()
    assert set(re.findall(r"^\| `(edge_\w+)` \|", readme, re.MULTILINE)) >= set(re.findall(r"(?<!\.)\bedge_\w+", text))


def test_the_observation_is_documented_field_by_field() -> None:
    from ansible_collections.edgemgr.edge.plugins.module_utils import observation

    fields = set(observation._node(0.0)) | {"health", "health_reason"}
    readme = (COLLECTION / "README.md").read_text().partition("## The Observation")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == fields


def test_every_code_is_documented() -> None:
    code = "".join(path.read_text() for path in (COLLECTION / "plugins").rglob("*.py"))
    readme = (COLLECTION / "README.md").read_text().partition("## Codes")[2]
    assert set(re.findall(r'"(E-[A-Z0-9-]+)"', code)) == set(
        re.findall(r"^\| `(E-[A-Z0-9-]+)` \|", readme, re.MULTILINE)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_playbook_begins_with_preflight_when_it_changes_something(kind: str) -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / f"{kind}.yml").read_text())
    roles = [task["ansible.builtin.import_role"]["name"] for task in play["tasks"]]
    assert (roles[0] == "edgemgr.edge.preflight") is (kind != "verify")
    assert play["hosts"] == "sites"
    assert play["gather_facts"] is False


def test_ansible_reads_all_playbooks(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", "-i", "sites,"]
        + [str(PLAYBOOKS / f"{kind}.yml") for kind in KINDS],
        env={**os.environ, "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_host_key_checking_is_never_switched_off() -> None:
    config = (PLAYBOOKS / "ansible.cfg").read_text()
    assert "host_key_checking = True" in config
    assert "StrictHostKeyChecking=yes" in config
    everything = "".join(path.read_text() for path in PLAYBOOKS.rglob("*") if path.suffix in (".yml", ".cfg", ".py"))
    assert not re.search(r"StrictHostKeyChecking[= ]+(no|off|accept-new)|AutoAddPolicy", everything)
