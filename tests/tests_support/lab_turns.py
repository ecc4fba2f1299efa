"""How two processes share the tests: one takes all that need a lab, the other the rest, file by file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

_MARK = "pytest.mark.lab"


class LabsInTurn(LoadFileScheduling):
    """Two labs at a time would only make each other late: both cores are theirs already when a dozen sites boot."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "lab" if file in self._lab_files else file

    @cached_property
    def _lab_files(self) -> frozenset[str]:
        return lab_files(self.config.rootpath)


def lab_files(root: Path) -> frozenset[str]:
    """The files of tests below `root` that need a lab, as test ids name them."""
    files = (file for file in (root / "tests").rglob("test_*.py") if _MARK in file.read_text(encoding="utf-8"))
    return frozenset(file.relative_to(root).as_posix() for file in files)
