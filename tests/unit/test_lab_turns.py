"""Which tests never run beside each other."""

from __future__ import annotations

from pathlib import Path

from tests_support.lab_turns import lab_files


def test_files_that_name_the_mark_anywhere_below_the_tests_need_a_lab_and_no_others(tmp_path: Path) -> None:
    directory = tmp_path / "tests" / "stories"
    directory.mkdir(parents=True)
    mark = "pytest.mark." + "lab"
    (directory / "test_site.py").write_text(f"pytestmark = [{mark}]\n")
    (directory / "test_rule.py").write_text("def test_rule() -> None: ...\n")
    (directory / "site_bench.py").write_text(f"MARK = {mark}\n")
    assert lab_files(tmp_path) == {"tests/stories/test_site.py"}
