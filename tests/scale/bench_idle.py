"""What the appliance costs while it waits: a fleet that has been dark for hours, and some operations for every site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance_in_the_dark import CONSOLE, serve
from consumption import Account
from dark_fleet import AWAY_S, make_dark_fleet
from dark_network import DarkNetwork, dark_network
from progress import say

from edgemgr.app import open_app
from edgemgr.model.operation import OperationKind
from edgemgr.settings import Settings

#: Of one kind a site has one operation waiting at most.
KINDS = min(5, len(OperationKind))
SITES = max(10_000, 50_000 // KINDS)
#: Asks for a page, twice, and prints how long the second took: the first compiles the templates.
_PAGE = """
import time, urllib.request
for _ in range(2):
    began = time.monotonic()
    with urllib.request.urlopen("http://{console}/sites", timeout=60) as answer:
        size = len(answer.read())
    took = time.monotonic() - began
print(took)
"""


def measure(*, quick: bool) -> dict[str, Any]:
    """`edgemgr serve` in a network where no site answers; CPU after it has tried every site at least once."""
    sites, settle_s, seconds = (2_000, 12.0, 20.0) if quick else (SITES, 170.0, 120.0)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgemgr-idle-")))
        network = stack.enter_context(dark_network())
        settings = Settings(state_dir=directory / "state", runtime_dir=directory / "run")
        say(f"{sites} sites, {KINDS} operations each, dark for {AWAY_S // 3600} hours")
        with open_app(settings) as appliance:
            count = make_dark_fleet(appliance.database, sites, KINDS)
        account = Account(f"edgemgr-idle-{os.getpid()}")
        stack.callback(account.close)
        with account.inside():
            serving = serve(network, settings, directory / "log")
            stack.enter_context(serving)
        time.sleep(settle_s)
        before, began = account.cpu_s(), time.monotonic()
        time.sleep(seconds)
        cpu_s, took_s = account.cpu_s() - before, time.monotonic() - began
        memory_bytes = account.memory_bytes()
        page_s = _page_s(network)
    return {
        "sites": sites,
        "operations": count,
        "seconds": took_s,
        "cpu_s": cpu_s,
        "memory_bytes": memory_bytes,
        "page_s": page_s,
    }


def _page_s(network: DarkNetwork) -> float:
    done = subprocess.run(
        [*network.prefix, sys.executable, "-c", _PAGE.format(console=CONSOLE)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return float(done.stdout)


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(quick=True), indent=2)}\n")
