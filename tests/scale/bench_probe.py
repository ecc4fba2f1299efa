"""How long it takes to look at ten thousand addresses of which four in ten are dead, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dark_network import DarkNetwork, dark_network
from progress import say

_PROGRAM = Path(__file__).with_name("probe_ways.py")
_LIMIT_S = 400.0
#: Ways that others go, and how many addresses each gets: the slower, the fewer.
_BASELINES = {"asyncio streams": 10_000, "200 threads": 4_000, "one by one": 25}


def measure(*, quick: bool) -> dict[str, Any]:
    """Every way in a process of its own, in one network, one after the other."""
    share = 10 if quick else 1
    with dark_network() as network:
        ours = _look(network, "edgemgr", 10_000 // share)
        baselines = [{"name": way, **_look(network, way, max(8, count // share))} for way, count in _BASELINES.items()]
    dead = ours["targets"] - ours["verdicts"]["reachable"]
    return {**ours, "dead": dead, "baselines": baselines}


def _look(network: DarkNetwork, way: str, count: int) -> dict[str, Any]:
    say(f"{way}: {count} addresses")
    done = subprocess.run(
        [*network.prefix, sys.executable, str(_PROGRAM), way, str(count)],
        check=True,
        capture_output=True,
        timeout=_LIMIT_S,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(quick=True), indent=2)}\n")
