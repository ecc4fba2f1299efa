"""Secrets that are planted are found nowhere: not in the database, a log, an event, an export or a process list."""

from __future__ import annotations

import contextlib
import csv
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance_stories import VERSION
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@contextlib.contextmanager
def watched_processes(needles: list[bytes]) -> Iterator[list[str]]:
    """Look through every command line and environment of this machine, again and again, until the block ends."""
    seen: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        text = (process / part).read_bytes()
                        seen.extend(f"{process}/{part}" for needle in needles if needle in text)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(timeout=30)


def test_passwords_and_private_keys_appear_nowhere(lab: Lab, appliance: Appliance, tmp_path: Path) -> None:
    lab.up(2, light=True)
    with lab.csv_path.open(newline="") as file:
        passwords = [row["password"] for row in csv.DictReader(file)]
    # The second site's password is wrong: a login that fails must not tell it either.
    wrong = "canary-wrong-password-7141"
    table = tmp_path / "sites.csv"
    table.write_text(lab.csv_path.read_text().replace(passwords[1], wrong))
    needles = [text.encode() for text in (passwords[0], wrong)] + [b"PRIVATE KEY-----"]

    appliance.serve()
    with watched_processes(needles[:2]) as seen:
        output = appliance.run("site", "import", str(table), "-o", "json")
        done = appliance.attempt("bootstrap", "--all", "--version", VERSION, "--wait", "--timeout", "30s")
    assert done.returncode in {6, 7}, done.stderr
    assert appliance.site("site-1")["health"] == "healthy"
    assert seen == []

    said = [output, done.stdout, done.stderr, appliance.run("site", "export"), appliance.log.read_text()]
    lists = (
        ("site", "list", "-o", "json"),
        ("site", "show", "site-1", "-o", "json"),
        ("site", "show", "site-2"),
        ("operation", "list", "-o", "json"),
    )
    said += [appliance.run(*arguments) for arguments in lists]
    for operation in appliance.items("operation", "list"):
        said.append(appliance.run("operation", "show", str(operation["id"]), "-o", "json"))
        said.append(appliance.attempt("operation", "logs", str(operation["id"])).stdout)
    for needle in needles:
        assert [text[:200] for text in said if needle.decode() in text] == []

    files = [path for path in appliance.directory.rglob("*") if path.is_file()]
    assert any(path.name == "edgemgr.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert [needle for needle in needles if needle in content] == [], path
