"""A program: runs prepared ansible-runner directories as its documentation shows it, and nothing of edgemgr's runner.

Reads a plan from standard input: `{"playbook": …, "directories": […], "at_once": …, "forks": …}`.
Prints for each directory how it ended and how many tasks each host had: `[{"status": …, "host_tasks": …}]`.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ansible_runner


def run(directory: str, *, playbook: str, forks: int | None) -> dict[str, Any]:
    done = ansible_runner.run(private_data_dir=directory, playbook=playbook, forks=forks, quiet=True)
    counts = done.stats or {}
    tasks = sum(sum(counts.get(kind, {}).values()) for kind in ("ok", "skipped", "failures", "dark"))
    return {"status": done.status, "host_tasks": tasks}


def main() -> None:
    plan = json.load(sys.stdin)
    one = partial(run, playbook=plan["playbook"], forks=plan["forks"])
    with ThreadPoolExecutor(plan["at_once"]) as pool:
        json.dump(list(pool.map(one, plan["directories"])), sys.stdout)


if __name__ == "__main__":
    main()
