"""The borders of an activation's steps, and a way to have the real program stand still at one on a lab site.

The program itself knows nothing of it: a module that Python reads at every start is put on the node, and where it finds
itself in the activation program it looks at what is written into the journal, the only place that borders are seen in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgemgr.lab.lab import Lab
from edgemgr.lab.site_files import SiteFiles
from edgemgr.runner.content import playbook_dir

sys.path.insert(0, str(playbook_dir() / "collections"))

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_course,
    activation_journal,
    activation_paths,
    activation_run,
)

BEFORE, AFTER = "before", "after"
#: Not a line of the journal, but what is written last of all.
WRITTEN = "written"
PLACE = "/var/lib/edgemgr-borders"
_PACKAGES = "/usr/lib/python3/dist-packages"
_HOOK = f"""\
import json
import os
import sys
import time

WANTED, HELD = "{PLACE}/wanted", "{PLACE}/held"
really_write, really_sync, really_rename = os.write, os.fsync, os.rename
lines = {{}}


def stand_still(step, event, when):
    with open(WANTED) as file:
        wanted = json.load(file)
    if wanted[:1] != [[step, event, when]]:
        return
    held = f"{{HELD}}-{{len(wanted)}}"
    for path, content in ((WANTED, wanted[1:]), (held, os.getpid())):
        with open(path + ".new", "w") as file:
            json.dump(content, file)
            file.flush()
            really_sync(file.fileno())
        really_rename(path + ".new", path)
    while os.path.exists(held):
        time.sleep(0.02)


def write(descriptor, content):
    if content.startswith(b'{{"at"'):
        lines[descriptor] = json.loads(content)
        stand_still(lines[descriptor]["step"], lines[descriptor]["event"], "{BEFORE}")
    return really_write(descriptor, content)


def sync(descriptor):
    really_sync(descriptor)
    line = lines.pop(descriptor, None)
    if line is not None:
        stand_still(line["step"], line["event"], "{AFTER}")


def rename(source, target, **more):
    really_rename(source, target, **more)
    if target == "{activation_paths.verdict()}":
        stand_still("{activation_course.VERDICT}", "{WRITTEN}", "{AFTER}")


# Before `site` is through sys.argv is not there yet.
if sys.orig_argv[1:3] == ["-I", "{activation_paths.program()}"] and os.path.exists(WANTED):
    os.write, os.fsync, os.rename = write, sync, rename
"""


class Border(NamedTuple):
    """Just before or just after a line of the journal is durable."""

    step: str
    event: str
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.step} {self.event}"


#: A hop that ends well, and what a hop that fails `verify` goes through from there: the lines of their journals.
FORWARD = [
    *((step, event) for step in (*activation_course.BEFORE_SWITCH, *activation_course.FROM_SWITCH)
      for event in (activation_journal.BEGINS, activation_journal.DONE)),
    (activation_course.VERDICT, activation_journal.DONE),
    (activation_course.VERDICT, WRITTEN),
]  # fmt: skip
BACK = [
    ("verify", activation_journal.BEGINS),
    ("verify", activation_journal.FAILED),
    (activation_course.GIVE_UP, activation_journal.DONE),
    *((step, event) for step in activation_course.ROLL_BACK
      for event in (activation_journal.BEGINS, activation_journal.DONE)),
    (activation_course.VERDICT, activation_journal.DONE),
    (activation_course.VERDICT, WRITTEN),
]  # fmt: skip
#: Only after an interruption before `switch`.
AGAIN = [(activation_course.RESTART_OLD, event) for event in (activation_journal.BEGINS, activation_journal.DONE)]


def borders(lines: Sequence[tuple[str, str]]) -> list[Border]:
    """All borders in a course that differ: nothing happens between one line and the beginning of the next step."""
    found = [Border(*lines[0], BEFORE)]
    for before, line in zip([None, *lines], lines, strict=False):
        if before == (line[0], activation_journal.BEGINS):
            found.append(Border(*line, BEFORE))
        found.append(Border(*line, AFTER))
    return found


def all_steps() -> set[str]:
    """Every step that the program knows."""
    return set(activation_run.STEPS)


class Holder:
    """Has the activation program of a site stand still at the borders that are wanted, one after the other."""

    def __init__(self, lab: Lab, site: str) -> None:
        self._lab, self._site = lab, site
        self._upper = SiteFiles(lab.directory / "sites" / site).upper
        self._left = 0

    def install(self) -> None:
        """Put the module on the node."""
        self._write(f"{_PACKAGES}/edgemgr_borders.py", _HOOK)
        self._write(f"{_PACKAGES}/edgemgr_borders.pth", "import edgemgr_borders\n")

    def want(self, wanted: Sequence[Border]) -> None:
        """The borders for the next activation, in order."""
        self._lab.run(self._site, ["sh", "-c", f"rm -f {PLACE}/held-*"])
        self._write(f"{PLACE}/wanted", json.dumps(wanted))
        self._left = len(wanted)

    def held(self) -> int | None:
        """The process that stands at the next border, as the node counts; None while there is none."""
        content = self.read(f"{PLACE}/held-{self._left}")
        return int(content) if content else None

    def release(self) -> None:
        """Let it go on."""
        self._lab.run(self._site, ["rm", f"{PLACE}/held-{self._left}"])

    def look_further(self) -> None:
        """Look out for the next border."""
        self._left -= 1

    def read(self, path: str) -> str:
        """A file of the node, read past it, so that it costs the node nothing; empty when there is none."""
        try:
            return (self._upper / Path(path).relative_to("/")).read_text()
        except FileNotFoundError:
            return ""

    def _write(self, path: str, content: str) -> None:
        script = f"mkdir -p {Path(path).parent} && cat >{path}.new && mv {path}.new {path}"
        done = self._lab.run(self._site, ["sh", "-c", script], input_text=content)
        assert done.returncode == 0, done.stderr
