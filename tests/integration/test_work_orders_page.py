"""docs/work-orders.md, followed command by command; the person at the site types into a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest
from tests_support.appliance import PROGRAM, Appliance
from tests_support.bundle_shop import BundleShop
from tests_support.page_steps import matches, page_steps
from tests_support.stick_node import StickNode

PAGE = Path(__file__).parent.parent.parent / "docs/work-orders.md"
CODE = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){4}")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the script of a stick works as root")


def typed(command: list[str], line: str) -> tuple[int, str]:
    """Run a command in a terminal and type one line when it asks; its exit status and what the terminal shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, deadline, asked = b"", time.monotonic() + 60, False
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            shown += data
            if not asked and b"Type the code" in shown:
                os.write(ours, line.encode() + b"\n")
                asked = True
        return process.wait(timeout=30), shown.decode().replace("\r\n", "\n")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)
        os.close(ours)


def test_the_page_can_be_followed_from_the_order_to_the_receipt(tmp_path: Path) -> None:
    (tmp_path / "appliance").mkdir()
    appliance = Appliance(tmp_path / "appliance", tmp_path / "lab")
    shop = BundleShop.open(tmp_path / "shop")
    shop.trusted_in(appliance.directory / "state/trust")
    appliance.run("bundle", "import", str(shop.bundle(12)))
    node, media = StickNode(tmp_path / "node"), tmp_path / "media"
    (tmp_path / "sites.csv").write_text(f"name,address,host_key,arch\nstore-0042,192.0.2.42,{node.fingerprint},amd64\n")
    appliance.run("site", "import", str(tmp_path / "sites.csv"))
    appliance.run("site", "label", "store-0042", "link=none")

    code, steps = "", page_steps(PAGE)
    assert len(steps) == 6
    for step in steps:
        command = step.command.replace("/media/", f"{media}/")
        if command.startswith("sudo "):
            status, output = typed([*command.split()[1:], "--root", str(node.root)], code)
        else:
            done = subprocess.run(
                [str(PROGRAM), *command.split()[1:]],
                env=appliance.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            status, output = done.returncode, done.stdout
        code = found[0] if (found := CODE.findall(output)) and not code else code
        output = output.replace(f"{media}/", "/media/")
        assert (status != 0) == step.fails, f"$ {step.command}\n{output}"
        shown = "\n".join(step.shown)
        assert matches(step.shown, output), f"$ {step.command}\n{output}\nthe page shows\n{shown}"
    assert node.held
