from __future__ import annotations

import ast
import subprocess
from pathlib import Path

from edgemgr.links.stick_script import stage_script


def test_the_script_is_the_same_every_time_and_runs_on_the_oldest_python_of_a_site() -> None:
    text = stage_script()
    assert text == stage_script()
    ast.parse(text, feature_version=(3, 8))
    for node in ast.parse(text).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and len(node.value.args) == 2:
            ast.parse(ast.literal_eval(node.value.args[1]), feature_version=(3, 8))


def test_the_script_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "stage.sh").write_text(stage_script())
    done = subprocess.run(
        ["sh", str(tmp_path / "stage.sh"), "--help"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--code" in done.stdout


def test_a_node_without_python_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "stage.sh").write_text(stage_script())
    (tmp_path / "bin").mkdir()
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "stage.sh")],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "no python3" in done.stderr
