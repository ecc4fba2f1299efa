"""Roles, modules, playbooks and the README say the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.edgemgr.edge.plugins.plugin_utils import host_arguments

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
COLLECTION = PLAYBOOKS / "collections" / "ansible_collections" / "edgemgr" / "edge"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
MODULES = sorted(path.stem for path in (COLLECTION / "plugins" / "modules").glob("*.py"))
ROLE_OF = {
    "backup": "backup",
    "bootstrap": "bootstrap",
    "reset": "reset",
    "restore": "restore",
    "rotate-certificates": "rotate_certificates",
    "rotate-token": "rotate_token",
    "tidy": "tidy",
    "upgrade": "upgrade",
    "verify": "report",
}


def role_file(role: str, name: str) -> Any:
    return yaml.safe_load((COLLECTION / "roles" / role / name).read_text())


def options_of(role: str) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = role_file(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


def test_every_role_has_a_module_and_nothing_else_is_called_by_a_playbook() -> None:
    assert set(ROLES) | {"artifact_store"} == set(MODULES)
    assert set(ROLES) == set(host_arguments.VARIABLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_one_fat_task_that_takes_its_arguments_from_the_host(role: str) -> None:
    (task,) = role_file(role, "tasks/main.yml")
    assert {name: value for name, value in task.items() if name != "name"} == {f"edgemgr.edge.{role}": None}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_variables_are_its_module_s_options(role: str) -> None:
    module = import_module(f"ansible_collections.edgemgr.edge.plugins.modules.{role}")
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    filled_in = {"asked_at", "is_prepared"} if role in ("bootstrap", "restore", "upgrade") else set()
    variables = host_arguments.VARIABLES[role]
    assert set(variables) | filled_in == set(options)
    assert set(variables.values()) == set(options_of(role))
    for name, variable in variables.items():
        for key in ("type", "default", "elements", "required"):
            assert options_of(role)[variable].get(key) == options[name].get(key), (variable, key)
        assert options_of(role)[variable]["description"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_readme_lists_its_variables(role: str) -> None:
    readme = (COLLECTION / "roles" / role / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|$", readme, re.MULTILINE))
    assert listed == {
        name: "required" if option.get("required") else json.dumps(option["default"])
        for name, option in options_of(role).items()
    }


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


@pytest.mark.parametrize("module", MODULES)
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
    readme = (COLLECTION / "README.md").read_text()
    known = {name for variables in host_arguments.VARIABLES.values() for name in variables.values()}
    assert set(re.findall(r"^\| `(edge_\w+)` \|", readme.partition("## Results")[0], re.MULTILINE)) == known


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


@pytest.mark.parametrize(("kind", "role"), ROLE_OF.items())
def test_a_playbook_is_one_host_task(kind: str, role: str) -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / f"{kind}.yml").read_text())
    (task,) = play["tasks"]
    assert task["ansible.builtin.import_role"] == {"name": f"edgemgr.edge.{role}", "rolespec_validate": False}
    assert play["hosts"] == "sites"
    assert play["gather_facts"] is False


def test_ansible_reads_all_playbooks(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", "-i", "sites,"]
        + [str(PLAYBOOKS / f"{kind}.yml") for kind in ROLE_OF],
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
