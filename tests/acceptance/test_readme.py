"""The README's commands, run as they stand."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from acceptance_stories import VERSION
from packaging.requirements import Requirement
from tests_support.appliance import PROGRAM, Appliance
from tests_support.console_blocks import console_blocks

from edgemgr import __version__
from edgemgr.lab.lab import Lab

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
MAKE, STORY, INSTALL = console_blocks(README)

#: The name by which the story calls its site, and the label by which it selects it.
SITE, LABEL = "store-0042", {"labels.region": "emea"}


def shell(line: str, *, directory: Path, environment: dict[str, str], timeout_s: float = 400) -> str:
    """Run one line as it stands, in a shell that stops at the first fault; returns what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=directory,
        env={**environment, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fill_in(template: Path, lab: Lab) -> None:
    """What an operator does with the template: rows of their own sites under its heading."""
    with template.open() as file:
        heading = next(csv.reader(file))
    assert LABEL.keys() <= set(heading)
    with lab.csv_path.open() as file:
        rows = [{**row, **LABEL, "name": SITE} for row in csv.DictReader(file)]
    with template.open("w") as file:
        writer = csv.DictWriter(file, heading, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.lab
@pytest.mark.slow
def test_the_way_from_a_csv_to_clusters_works_line_by_line(lab: Lab, appliance: Appliance, tmp_path: Path) -> None:
    lab.up(1, light=True)
    shell(f"edgemgr lab release --version {VERSION} {VERSION}", directory=tmp_path, environment=appliance.environment)
    printed = {}
    for line in STORY:
        if line == "edgemgr serve &":
            appliance.serve()
            continue
        printed[line] = shell(line, directory=tmp_path, environment=appliance.environment)
        if line == "edgemgr site template > sites.csv":
            fill_in(tmp_path / "sites.csv", lab)
    site = appliance.site(SITE)
    assert (site["health"], site["k3s_version"]) == ("healthy", VERSION)
    assert SITE not in printed["edgemgr site list --filter 'health!=healthy'"]
    assert "kube-system" in printed[f"edgemgr kubectl {SITE} -- get pods -A"]


def test_every_command_of_the_first_screen_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", README.read_text())) | {line.removeprefix("make ") for line in MAKE}
    assert {"demo", "demo-down", "test"} <= named
    assert named <= targets


def test_the_story_consists_of_commands_of_edgemgr() -> None:
    assert all(line.startswith("edgemgr ") for line in STORY)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that README's second line of the installation builds."""
    assert INSTALL[1] == "/opt/edgemgr/bin/pip install --no-deps --no-build-isolation ."
    directory = tmp_path_factory.mktemp("wheel")
    command = ["-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(directory)]
    subprocess.run([sys.executable, *command, str(ROOT)], check=True, timeout=300, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


def shipped(top: str) -> set[str]:
    """The files of a directory of this tree that git would keep."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", top]
    names = subprocess.run(listed, check=True, timeout=60, capture_output=True, text=True).stdout.splitlines()
    return {name for name in names if (ROOT / name).exists()}


def test_the_wheel_holds_programs_playbooks_templates_and_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert shipped("edgemgr") <= inside
    assert {f"edgemgr/_{name}" for name in shipped("playbooks")} <= inside
    assert any(name.startswith("edgemgr/web/templates/") for name in inside)
    assert any(name.startswith("edgemgr/web/static/") for name in inside)
    assert f"edgemgr-{__version__}.dist-info/licenses/LICENSE" in inside
    assert {name.split("/")[0] for name in inside} == {"edgemgr", f"edgemgr-{__version__}.dist-info"}


def test_the_locked_requirements_hold_all_that_edgemgr_needs_with_hashes() -> None:
    locked = {}
    for block in re.split(r"\n(?=[a-z])", (ROOT / "requirements.txt").read_text()):
        if match := re.match(r"([a-z0-9_.-]+)(?:\[[a-z,]+\])?==(\S+)", block):
            locked[match[1]] = (match[2], "--hash=sha256:" in block)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["postgresql"],
        *project["dependency-groups"]["build"],
    ]
    for requirement in map(Requirement, wanted):
        version, has_hash = locked[requirement.name]
        assert requirement.specifier.contains(version), requirement
        assert has_hash, requirement


def test_an_installed_wheel_runs_with_its_own_playbooks(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "opt" / "edgemgr"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    python = venv / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, *install], check=True, timeout=120, capture_output=True)
    # The locked packages come from the environment of this test: a path, so that its own edgemgr stays out.
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    (packages / "locked.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (venv / "bin" / "ansible-playbook").symlink_to(PROGRAM.with_name("ansible-playbook"))
    environment = {
        "PATH": "/usr/bin:/bin",
        "EDGEMGR_STATE_DIR": str(tmp_path / "state"),
        "EDGEMGR_RUNTIME_DIR": str(tmp_path / "run"),
        "EDGEMGR_CONFIG": str(tmp_path / "config.toml"),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(venv / "bin" / "edgemgr"), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("--version").strip() == f"edgemgr {__version__}"
    assert INSTALL[2] == "/opt/edgemgr/bin/edgemgr doctor"
    findings = {finding["check"]: finding for finding in json.loads(run("doctor", "-o", "json"))["items"]}
    assert findings["playbooks"]["detail"] == str(packages / "edgemgr" / "_playbooks")
    assert (packages / "edgemgr" / "_playbooks" / "bootstrap.yml").is_file()
