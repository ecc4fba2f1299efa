"""docs/upgrades.md, followed command by command on a lab site."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tests_support.appliance import PROGRAM, Appliance
from tests_support.page_steps import Step, matches, page_files, page_steps
from upgrade_stories import Company

from edgemgr.lab.lab import Lab
from edgemgr.operations.upgrade import SiteCheck

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PAGE = Path(__file__).parent.parent.parent / "docs/upgrades.md"


def follow(step: Step, appliance: Appliance, directory: Path) -> None:
    """Run one line as it stands, in a shell that stops at the first fault, and see what the page shows."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step.command],
        cwd=directory,
        env={**appliance.environment, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"$ {step.command}\n{done.stdout}\n{done.stderr}"
    if step.shown:
        assert matches(step.shown, done.stdout), f"$ {step.command}\n{done.stdout}"


def test_the_page_can_be_followed_from_the_plan_to_the_new_version(
    lab: Lab, appliance: Appliance, tmp_path: Path
) -> None:
    lab.up(1)
    company = Company(appliance, lab, tmp_path / "vendor")
    company.begin("site-1")
    company.bring(1, {"v1.34.1+k3s1": {}})
    steps = page_steps(PAGE)
    assert len(steps) >= 3
    for step in steps:
        follow(step, appliance, tmp_path)
    assert company.runs("site-1") == "v1.34.1+k3s1"


def test_the_checks_that_the_page_shows_are_taken() -> None:
    (text,) = page_files(PAGE, "yaml")
    assert [SiteCheck.model_validate(each).name for each in yaml.safe_load(text)] == ["till", "printer"]
